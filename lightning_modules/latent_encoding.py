"""The frozen parts of stage 1 as a predictor: pictures -> latents and image embeddings."""

import hashlib

from lightning import LightningModule
from torch import Tensor

from datamodules.sample import Batch
from lightning_modules.nets.diffusion_model import DiffusionModel


class LatentEncoding(LightningModule):
    """Predicts what stage 1 keeps of a picture; ValueError for an image tower that still learns."""

    def __init__(self, diffusion: DiffusionModel) -> None:
        super().__init__()
        if any(weight.requires_grad for weight in diffusion.image_encoder.parameters()):
            raise ValueError(
                f"{type(diffusion.image_encoder).__name__} learns with stage 1, so that its "
                "embeddings cannot be kept: expected a frozen image tower, such as "
                "ClipImageEncoder, or latents: online"
            )
        self.diffusion = diffusion

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Latents (B, c, h, w) and image embeddings (B, D) of a batch."""
        return self.diffusion.encode(batch.image), self.diffusion.image_encoder(batch.image)


def parts_sha256(diffusion: DiffusionModel) -> str:
    """The hash of the parts that latents depend on: autoencoder with its scale, image tower."""
    digest = hashlib.sha256()
    for part in (diffusion.autoencoder, diffusion.image_encoder):
        for name, value in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()
