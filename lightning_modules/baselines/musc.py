"""MuSc: images that nobody has labelled are scored among each other; nothing is trained."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import repeat
from zlib import crc32

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from datamodules.sample import Batch, Prediction
from lightning_modules.anomaly_module import AnomalyModule, to_unit
from lightning_modules.equations.mutual_scoring import (
    mutual_scores,
    neighbourhood_tokens,
    smoothed_by_likeness,
)
from lightning_modules.nets.image_encoder import resized
from lightning_modules.nets.patch_projection import (
    PatchProjection,
    contrastive_loss,
    two_looks,
)
from lightning_modules.nets.patch_tokens import PatchTokens
from lightning_modules.nets.post_processing import ImageScores
from lightning_modules.weights_io import SavedStage

FEWEST_IMAGES = 5
# Places of a batch that are told apart at once, of each layer.
CONTRASTED = 1024
# The maps of some layers, each (1, C_i, h, w), and the vector (1, D) of an image.
Seen = tuple[list[Tensor], Tensor]


class Musc(AnomalyModule):
    """Li et al., ICLR 2024: a place is odd where few of the other images show the like.

    tokens: of what net. neighbourhoods: sides of the squares that tokens are means of, in tokens;
    lowest_share: of the distances to the other images that are averaged; like_images: how many of
    the most alike images have a say in an image's score, several numbers are averaged. All images
    that will be asked about are looked at together, those of one product among each other, before
    the first gets its answer; one that was not makes a set with those it comes with. Good training
    images of one product set the curves alone; or, with a projection, which is the DiffuseDefect
    paper's and no part of MuSc, they teach it first to tell places apart.
    """

    stage = "musc"
    collected = (*AnomalyModule.collected, "_product")
    shapes_examples = False  # an example alone gets no answer

    def __init__(
        self,
        tokens: PatchTokens,
        neighbourhoods: tuple[int, ...] = (1, 3, 5),
        lowest_share: float = 0.3,
        like_images: tuple[int, ...] = (1, 2, 3),
        image_size_px: int = 512,
        projection: PatchProjection | None = None,
        base_learning_rate: float = 1e-3,
    ) -> None:
        super().__init__(image_size_px)
        if even := [side for side in neighbourhoods if side % 2 == 0]:
            raise ValueError(f"a neighbourhood is {even[0]} wide: expected an odd number of tokens")
        self.tokens, self.neighbourhoods, self.lowest_share = tokens, neighbourhoods, lowest_share
        self.like_images = like_images
        self.projection, self.base_learning_rate = projection, base_learning_rate
        self.automatic_optimization = projection is not None
        # The product whose images set the curves, as a number; none before the first.
        self._product: list[Tensor] = []
        # By the pixels of an image: its map (1, h, w) and its score.
        self._found: dict[bytes, tuple[Tensor, Tensor]] = {}

    def tags(self) -> dict[str, str]:
        """Whose tokens they are, and what they go through."""
        projected = {"projection": "contrastive"} if self.projection else {}
        return {**self.tokens.tags(), **projected}

    def load(self) -> None:
        """Reads the net's weights; FileNotFoundError, or ValueError."""
        self.tokens.load()
        self._check_side()

    def restore(self, saved: SavedStage) -> None:
        """As any other, with weights that no checkpoint holds."""
        self.tokens.await_weights()
        self._check_side()
        super().restore(saved)

    def _check_side(self) -> None:
        if self.tile_px % self.tokens.patch_px:
            raise ValueError(
                f"image_size_px is {self.tile_px}: expected a multiple of {self.tokens.patch_px}, "
                "the side of a patch"
            )

    def check_processes(self, count: int) -> None:
        """ValueError for several: each would know a part of the images."""
        if count > 1:
            raise ValueError(
                f"got {count} processes, expected one: MuSc scores images among each other; set "
                "trainer.devices to 1"
            )

    def comparable(self, batch: Batch) -> list[Tensor]:
        """Those of the first image's product: among others each would be odd."""
        products = batch.products or [""] * len(batch.image)
        codes = [torch.tensor(crc32(product.encode())) for product in products]
        self._product = self._product or [codes[0].to(self.device)]
        pairs = zip(batch.image, codes, strict=True)
        return [image for image, code in pairs if int(code) == int(self._product[0])]

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Nothing without a projection; the mean over layers of its loss on places of the batch."""
        if self.projection is None:
            return None
        generator = torch.Generator(self.device).manual_seed(batch.seeds[0])
        looks = [self.tokens(look)[0] for look in two_looks(batch.image, generator)]
        losses = []
        for maps in zip(*looks, strict=True):
            pair = [self.projection(one).movedim(1, -1).flatten(0, 2) for one in maps]
            count = len(pair[0])
            chosen = torch.randperm(count, generator=generator, device=self.device)[:CONTRASTED]
            losses.append(contrastive_loss(pair[0][chosen], pair[1][chosen]))
        loss = torch.stack(losses).mean()
        self.log("mask/train/loss", loss.detach(), batch_size=len(batch.image))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW for a projection, else none."""
        if self.projection is None:
            return None
        return torch.optim.AdamW(self.projection.parameters(), self.base_learning_rate)

    def on_validation_start(self) -> None:
        """Looks at all images before the first is asked about."""
        self._look_at_batches(self.trainer.val_dataloaders)

    def on_test_start(self) -> None:
        """Looks at all images before the first is asked about."""
        self._look_at_batches(self.trainer.test_dataloaders)

    def _look_at_batches(self, batches: Iterable[Batch] | None) -> None:
        assert batches is not None
        self._look_at(
            pair
            for batch in batches
            for pair in zip(batch.image, batch.products or repeat(""), strict=False)
        )

    def look_at(self, images: Iterable[Tensor]) -> None:
        """Scores images (3, H, W) of any sizes among each other; ValueError for under five.

        What was looked at before keeps its scores: somebody may be asking for those still.
        """
        before = self._found
        self._look_at((image, "") for image in images)
        self._found = before | self._found

    @torch.no_grad()
    def _look_at(self, pairs: Iterable[tuple[Tensor, str]]) -> None:
        """Scores images among those of the same product."""
        sets: dict[str, list[tuple[bytes, Seen]]] = {}
        for image, product in pairs:
            square = resized(image[None].to(self.device), self.tile_px)
            sets.setdefault(product, []).append((fingerprint(image), self._see(square)))
        found: dict[bytes, tuple[Tensor, Tensor]] = {}
        for members in sets.values():
            grids, scores = self._score_set([seen for _, seen in members])
            keys = [key for key, _ in members]
            found |= zip(keys, zip(grids, scores, strict=True), strict=True)
        self._found = found

    def _see(self, square: Tensor) -> Seen:
        """Of a square image (1, 3, s, s) all that is kept, in 16 bits, off the device."""
        maps, vector = self.tokens(square)
        if self.projection is not None:
            maps = [self.projection(one) for one in maps]
        return [one.half().cpu() for one in maps], vector.float()

    def _score_set(self, images: Sequence[Seen]) -> tuple[Tensor, Tensor]:
        """Maps (N, 1, h, w) and scores (N,) of images; ValueError for under five."""
        if len(images) < FEWEST_IMAGES:
            raise ValueError(
                f"got {len(images)} images to score among each other, expected {FEWEST_IMAGES} or "
                "more: give MuSc all at once, as predict --images FOLDER, or take a memory bank"
            )
        rounds = []
        with torch.autocast(self.device.type, enabled=False):  # tokens have their own 16 bits
            for layer in zip(*(maps for maps, _ in images), strict=True):
                for side in self.neighbourhoods:
                    kept = [one.to(self.device) for one in layer]
                    tokens = [neighbourhood_tokens(one, side).half() for one in kept]
                    rounds.append(mutual_scores(torch.cat(tokens), self.lowest_share))
        size = layer[0].shape[-2:]
        grids = torch.stack(rounds).mean(0).unflatten(1, size)[:, None]
        peaks = torch.stack([enlarged(one, self.tile_px).amax() for one in grids])
        vectors = torch.cat([vector for _, vector in images])
        return grids, smoothed_by_likeness(peaks, vectors, self.like_images)

    def predict_images(self, images: Sequence[Tensor]) -> list[Prediction]:
        """What was found when they were looked at; ValueError for under five that were not."""
        keys = [fingerprint(image) for image in images]
        if not self._found.keys() >= set(keys):
            self.look_at(images)
        pairs = zip(images, (self._found[key] for key in keys), strict=True)
        return [self.post_processing(self._scores(image, *found)) for image, found in pairs]

    def _scores(self, image: Tensor, grid: Tensor, score: Tensor) -> ImageScores:
        """The grid (1, h, w) brought to the image's size, and both to [0, 1]."""
        large = enlarged(grid, *image.shape[-2:]).to(image.device)
        defective = to_unit(score, self.image_curve).to(image.device)
        types = torch.ones_like(large, dtype=torch.int64)
        answer = torch.stack([1 - defective, defective])
        return ImageScores(to_unit(large, self.map_curve.to(image.device)), types, answer)

    @torch.no_grad()
    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and scores of square images among each other; ValueError for under five."""
        grids, scores = self._score_set([self._see(image[None]) for image in images])
        return torch.stack([enlarged(one, self.tile_px) for one in grids]), scores

    def score_shown(self) -> tuple[Tensor, Tensor]:
        """How odd good images are among each other; ValueError for under five."""
        if len(self._shown) < FEWEST_IMAGES:
            raise ValueError(
                f"got {len(self._shown)} good images of one product, expected {FEWEST_IMAGES} or "
                "more to set what a score of 0.5 is: raise data.init_args.image_budget"
            )
        return self.score(torch.stack(self._shown))


def enlarged(grid: Tensor, height: int, width: int = 0) -> Tensor:
    """A grid (1, h, w) at another size (H, W), corners aligned, as published."""
    size = (height, width or height)
    return functional.interpolate(grid[None], size, mode="bilinear", align_corners=True)[0, 0]


def fingerprint(image: Tensor) -> bytes:
    """The same for the same pixels (3, H, W), on whichever device."""
    return hashlib.blake2b(image.cpu().contiguous().numpy().tobytes(), digest_size=16).digest()
