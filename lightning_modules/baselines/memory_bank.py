"""A plain memory bank: how far each place is from all that good parts showed; no training."""

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torch.nn import functional

from datamodules.sample import Batch
from lightning_modules.anomaly_module import AnomalyModule
from lightning_modules.equations.anomaly_maps import (
    blurred,
    farthest_points,
    nearest_distances,
    neighbourhood_mean,
    on_finest_grid,
    resize_maps,
)
from lightning_modules.nets.backbone_features import BackboneFeatures

SELECTIONS = ("random", "coreset")
PROJECTED_WIDTH = 32


class MemoryBank(AnomalyModule):
    """Distance of each place's features to the nearest of `vectors` that good parts showed.

    The features of a frozen net (`BackboneFeatures`), means over 3x3 places, on the finest map's
    grid; after PatchCore (CVPR 2022), without its reweighted image score. The net sees the image
    mirrored a little beyond its rim: with zeros there, every rim is odd. selection: `random`, or
    PatchCore's greedy `coreset`, which takes minutes where random takes none.
    """

    stage = "memory_bank"
    collected = (*AnomalyModule.collected, "_seen", "_rows")
    bank: Tensor

    def __init__(
        self,
        weights: str = "",
        model_name: str = "",
        layers: tuple[str, ...] = (),
        vectors: int = 8000,
        selection: str = "random",
        blur_sigma_px: float = 4.0,
        image_size_px: int = 256,
        batch_size: int = 8,
    ) -> None:
        super().__init__(image_size_px, batch_size)
        if selection not in SELECTIONS or vectors < 1:
            raise ValueError(
                f"got selection {selection!r} and {vectors} vectors: expected one of "
                f"{', '.join(SELECTIONS)} and 1 or more"
            )
        self.features = BackboneFeatures(weights, model_name, layers)
        self.vectors, self.selection, self.blur_sigma_px = vectors, selection, blur_sigma_px
        self.register_buffer("bank", torch.zeros(0, sum(self.features.channels)))
        self.register_load_state_dict_pre_hook(take_size_of_bank)
        # Of each image the vectors of its places, and which image of the data it is.
        self._seen: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._owners = torch.zeros(0)

    def tags(self) -> dict[str, str]:
        """The backbone, and how the bank was chosen."""
        return {**self.features.tags(), "bank": f"{self.vectors} {self.selection}"}

    def load(self) -> None:
        """Reads the backbone's weights; FileNotFoundError, or ValueError."""
        self.features.load()

    def check_processes(self, count: int) -> None:
        """ValueError for several: each would hold a part of the bank."""
        if count > 1:
            raise ValueError(
                f"got {count} processes, expected one: a memory bank is not split; set "
                "trainer.devices to 1"
            )

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Keeps the places' vectors of good images."""
        self._seen += list(self.embed(batch.image).float())
        self._rows += list(batch.row.to(self.device))
        return None

    @torch.no_grad()
    def learn_from_epoch(self) -> None:
        """Fills the bank; then the curves.

        ValueError for a single image, which could not be told from itself.
        """
        rows = torch.stack(self._rows)
        if len(rows.unique()) < 2:
            raise ValueError(
                "got one good image, expected two or more: give the memory bank more of them"
            )
        everything = torch.cat(self._seen)
        owners = rows.repeat_interleave(len(self._seen[0]))
        count = min(self.vectors, len(everything))
        if self.selection == "random":
            chosen = torch.randperm(len(everything))[:count]
        else:
            short = everything @ torch.randn(everything.shape[1], PROJECTED_WIDTH).to(everything)
            chosen = farthest_points(short, count)
        self.bank, self._owners = everything[chosen], owners[chosen]
        super().learn_from_epoch()

    def embed(self, images: Tensor) -> Tensor:
        """Vectors (B, h * w, D) of the places of images (B, 3, s, s) in [-1, 1]."""
        beyond = max(self.features.strides)
        maps = self.features(functional.pad(images, (beyond,) * 4, mode="reflect"))
        pairs = zip(maps, self.features.strides, strict=True)
        maps = [inner(neighbourhood_mean(one), beyond // stride) for one, stride in pairs]
        return on_finest_grid(maps).flatten(2).mT.contiguous()

    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Distances to the bank, blurred, and the largest one of each image before that."""
        return self._distances(images, self.bank)

    def score_shown(self) -> tuple[Tensor, Tensor]:
        """Distances of the good images that were kept to what the others showed."""
        pairs = []
        for image, row in zip(self._shown, self._rows, strict=False):
            others = self.bank[self._owners != row]
            pairs.append(self._distances(image[None], others if len(others) else self.bank))
        maps, scores = zip(*pairs, strict=True)
        return torch.cat(maps), torch.cat(scores)

    @torch.no_grad()
    def _distances(self, images: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
        vectors = self.embed(images)
        distances = nearest_distances(vectors.flatten(0, 1), bank).view(len(images), -1)
        side = round(distances.shape[1] ** 0.5)
        maps = resize_maps(distances.view(-1, side, side), images.shape[-1])
        return blurred(maps, self.blur_sigma_px), distances.amax(1)


def inner(maps: Tensor, rim: int) -> Tensor:
    """Maps (B, C, h, w) without `rim` places on each side."""
    return maps[..., rim : maps.shape[-2] - rim, rim : maps.shape[-1] - rim]


def take_size_of_bank(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Makes the bank as long as the one that a checkpoint holds."""
    assert isinstance(module, MemoryBank)
    if (saved := state.get(prefix + "bank")) is not None:
        module.bank = module.bank.new_zeros(saved.shape)
