"""A small U-Net that learns what a trained system finds, for a list of names that is then fixed.

The teacher is a run that `experiments/train.py` reads; its files for
other runtimes are written by `experiments/exporting.py`.
"""

from pathlib import Path

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.nets.segmentation_unet import ENCODER_STRIDE, SegmentationUnet
from lightning_modules.nets.tiling import join_type_scores, mirror_index
from lightning_modules.optimizers import fine_tuning
from lightning_modules.segmentation_module import SegmentationModule, check_closed_list
from lightning_modules.weights_io import SavedStage


class Student(SegmentationModule):
    """Learns a teacher's maps and answers on all images, and the true masks where there are some.

    teacher: the run directory, checkpoint or release that it learns from; encoder_name, weights,
    decoder_channels: as `SegmentationUnet` takes them; label_weight: of the true masks beside the
    teacher's maps; window_px: side of the training crops, and of the windows whose answers make
    that of an image, as tiles do for the teacher. An image is seen whole, at any size, up to a
    side of tile_px.
    """

    stage = "student"
    sees_any_size = True

    def __init__(
        self,
        teacher: str = "",
        encoder_name: str = "",
        weights: str = "efficientnet_lite0",
        decoder_channels: tuple[int, ...] = (128, 64, 32),
        label_weight: float = 1.0,
        base_learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup_steps: int = 100,
        window_px: int = 128,
        tile_px: int = 1024,
        tile_overlap_px: int = 128,
        tile_batch_size: int = 1,
    ) -> None:
        super().__init__(tile_px, tile_overlap_px, tile_batch_size, stride=ENCODER_STRIDE)
        if window_px % ENCODER_STRIDE or not 0 < window_px <= tile_px:
            raise ValueError(
                f"window_px is {window_px}: expected a multiple of {ENCODER_STRIDE}, at most "
                f"tile_px, which is {tile_px}"
            )
        self.teacher, self.label_weight, self.window_px = teacher, label_weight, window_px
        self.base_learning_rate, self.weight_decay = base_learning_rate, weight_decay
        self.warmup_steps = warmup_steps
        self.net = SegmentationUnet(encoder_name, weights, 1, decoder_channels)
        self.answer = nn.Conv2d(self.net.encoder.out_channels[-1], 1, kernel_size=1)
        # In a tuple: a module of its own would be trained and saved.
        self._teachers: tuple[SegmentationModule, ...] = ()

    def tags(self) -> dict[str, str]:
        """The encoder, where its weights come from, and the teacher."""
        return {
            "encoder": self.net.encoder_name,
            "encoder_weights": self.net.weights or "random",
            "teacher": self.teacher,
        }

    def load(self) -> None:
        """Reads the encoder's weights; FileNotFoundError, or ValueError."""
        self.net.read_weights()

    @property
    def teacher_path(self) -> Path:
        """Where the teacher is; ValueError where none is named."""
        if not self.teacher:
            raise ValueError(
                "the student has no teacher: name the run that it learns from, --teacher RUN"
            )
        return Path(self.teacher)

    def learn_from(self, teacher: SegmentationModule) -> None:
        """Takes a filled teacher; ValueError for one that does not see such crops."""
        if teacher.sees_whole or teacher.tile_px != self.window_px:
            seen = "whole images" if teacher.sees_whole else f"tiles of {teacher.tile_px} px"
            raise ValueError(
                f"the teacher sees {seen}, the student crops of {self.window_px} px: expected the "
                "same; set model.window_px and data.train_transform.crop_size_px to the teacher's "
                "tile_px, or choose a teacher that works by tiles"
            )
        self._teachers = (teacher.eval().requires_grad_(False),)

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """ValueError for other names than those of its training: the list is closed."""
        if self.vocabulary is not None:
            check_closed_list(vocabulary, known=self.vocabulary, class_count=len(self.vocabulary))

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """The first list fixes the names, and asks the teacher for them; ValueError for others."""
        is_first = self.vocabulary is None
        super().set_vocabulary(vocabulary)
        for teacher in self._teachers:
            teacher.set_vocabulary(vocabulary)
        if is_first:
            count = len(vocabulary)
            self.net.set_class_count(count)
            self.answer = nn.Conv2d(self.answer.in_channels, count, kernel_size=1)
            self.dice = DiceLoss("multiclass", classes=list(range(1, count)), smooth=0.5)
            self.to(self.device)

    def restore(self, saved: SavedStage) -> None:
        """Fills the student with what a checkpoint saved, whose names fix its list."""
        self.set_vocabulary(Vocabulary(saved.entries))
        super().restore(saved)

    def setup(self, stage: str) -> None:
        """ValueError for training crops of another size than the windows."""
        data = getattr(self.trainer, "datamodule", None)
        side_px = data.train_transform.size_px if stage == "fit" and data else self.window_px
        if side_px != self.window_px:
            raise ValueError(
                f"the training crops have {side_px} px, the student's windows {self.window_px}: "
                "set data.train_transform.crop_size_px and model.window_px to the same"
            )

    def on_fit_start(self) -> None:
        """Brings the teacher to the student's device."""
        for teacher in self._teachers:
            teacher.to(self.device)

    def find(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of maps (B, K+1, H, W) and of the windows' answers (B, K+1, N).

        image: (B, 3, H, W) in [-1, 1], sides multiples of 32 and no shorter than a window.
        """
        logits, last = self.net.find(image)
        cells = self.window_px // ENCODER_STRIDE
        windows = functional.avg_pool2d(last, cells, stride=max(1, cells // 2))
        return logits, self.answer(windows).flatten(2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy to the teacher's maps and answers, and to known masks, there with dice."""
        maps, answer = self._teachers[0].score_tiles(batch.image)
        logits, windows = self.find(batch.image)
        losses = {
            "loss_maps": functional.cross_entropy(logits, shares_of(maps)),
            "loss_answer": functional.cross_entropy(windows[..., 0], answer),
        }
        # Of boxes and unlabelled images the teacher says where the defect is.
        known = batch.has_mask & ~batch.is_box
        if known.any():
            own, mask = logits[known], batch.mask[known]
            labels = functional.cross_entropy(own, mask) + self.dice(own, mask)
            losses["loss_labels"] = self.label_weight * labels
        loss = torch.stack([*losses.values()]).sum()
        logged = {f"mask/train/{name}": one.detach() for name, one in losses.items()}
        self.log_dict(logged | {"mask/train/loss": loss.detach()}, batch_size=len(batch.image))
        return loss

    @torch.no_grad()
    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Type maps (T, K, H, W) and answers (T, K+1) of tiles (T, 3, H, W), sides of any length.

        They are mirrored outwards to what the net takes, and the maps cut to their size again.
        """
        sides, wholes = zip(*(self._lengths(one) for one in tiles.shape[-2:]), strict=True)
        for dim, (side, whole) in enumerate(zip(sides, wholes, strict=True), start=2):
            tiles = tiles.index_select(dim, mirror_index(side, whole).to(tiles.device))
        logits, windows = self.find(tiles)
        top, left = ((whole - side) // 2 for side, whole in zip(sides, wholes, strict=True))
        maps = logits.softmax(1)[:, 1:, top : top + sides[0], left : left + sides[1]]
        return maps, join_type_scores(windows.softmax(1).transpose(1, 2))

    def _lengths(self, length_px: int) -> tuple[Tensor, Tensor]:
        """A side and what it is mirrored to, as tensors, which an exported graph computes.

        That is what windows at half a window's steps cover: no rim is in none of them.
        """
        side = torch.as_tensor(length_px)
        step = max(1, self.window_px // ENCODER_STRIDE // 2) * ENCODER_STRIDE
        beyond = (side - self.window_px).clamp(min=0)
        return side, self.window_px + (beyond + step - 1) // step * step

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The whole way that exports write down: pixels (B, H, W, 3) uint8, red first, to scores.

        The scores are those of `score_tiles`: maps (B, K, H, W) in [0, 1], answers (B, K+1).
        """
        return self.score_tiles(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and polynomial decay, as stage 2."""
        return fine_tuning(
            self,
            lr=self.base_learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
        )


def shares_of(maps: Tensor) -> Tensor:
    """Shares (B, K+1, H, W) of good and each type, summing to one, of maps (B, K, H, W) in [0, 1].

    Good has what the types leave.
    """
    types = maps / maps.sum(1, keepdim=True).clamp(min=1)
    return torch.cat([(1 - types.sum(1, keepdim=True)).clamp(min=0), types], dim=1)
