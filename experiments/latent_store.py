"""What a store of latents must be made from, as training and `cache_latents.py` both ask."""

from datamodules.imdd import IMDDDataModule
from datamodules.latents import StoreIndex
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.latent_encoding import parts_sha256


def latent_index(
    model: DiffusionPretrain, data: IMDDDataModule, *, variants: int, per_shard: int
) -> StoreIndex:
    """What a store of this stage's latents must be made from."""
    words = [f"{name}={value}" for name, value in sorted(vars(data.train_transform).items())]
    return StoreIndex(
        manifest_sha256=data.index.sha256,
        parts_sha256=parts_sha256(model.diffusion),
        transform=f"{type(data.train_transform).__name__}({', '.join(words)})",
        seed=data.seed,
        row_count=len(data.training_dataset()),
        variants=variants,
        samples_per_shard=per_shard,
    )
