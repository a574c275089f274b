"""Where pre-training begins to pay: stage 2 by stage 1's images and width."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from experiments.comparing.charts import curves
from experiments.comparing.estimates import Estimate, estimate, in_words, is_parted
from experiments.comparing.paper_figures import ACCURACY, IOU
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, STAGE1, finetune, rows

DRAWS = "pretrain.data.init_args.draws_per_epoch"
EPOCHS = "pretrain.trainer.max_epochs"
FEWEST_POINTS = 3  # that a line is put through
WIDTHS = "model.init_args.diffusion.init_args.denoiser.init_args.block_channels"


class PretrainingScale(Study):
    """Stage 2 on stage 1 after each number of images, at each width of the U-Net.

    images: 0 is an untrained U-Net. widths: the U-Net's channels by a name for them.
    """

    def __init__(
        self,
        images: tuple[int, ...] = (0, 30_000, 100_000, 300_000, 1_000_000),
        widths: dict[str, list[int]] | None = None,
    ) -> None:
        self.images = tuple(sorted(images))
        self.widths: Mapping[str, list[int]] = widths or {"base": [48, 96, 128]}

    def variants(self) -> Sequence[Variant]:
        """A stage 1 and a stage 2 for each width and number of images."""
        return [
            variant
            for width, channels in self.widths.items()
            for count in self.images
            for variant in self.pair(width, channels, count)
        ]

    def pair(self, width: str, channels: list[int], count: int) -> list[Variant]:
        """Stage 2 of one point, after its stage 1 where it has one."""
        name = name_of(width, count)
        settings: dict[str, object] = {WIDTHS: channels}
        if count == 0:
            return [finetune(name, {**settings, "model.init_args.pretrained": "random"}, stage1="")]
        seen = {f"pretrain.{WIDTHS}": channels, DRAWS: count, EPOCHS: 1}
        stage1 = replace(STAGE1, name=f"stage1_{name}", settings=seen)
        return [stage1, finetune(name, settings, stage1=stage1.name)]

    def report(self, results: Results) -> Report:
        """The table, the curves over images, and the trend's promise."""
        points = [(width, count) for width in self.widths for count in self.images]
        labels = {
            name_of(width, count): {"U-Net": width, "images": str(count)} for width, count in points
        }
        table = PaperTable(
            "pretraining_scale",
            "Images seen in stage 1",
            ("U-Net", "images"),
            rows(results, labels, (IOU, ACCURACY)),
        )
        chart = curves(
            {
                width: [(max(count, 1), self.of(results, width, count)) for count in self.images]
                for width in self.widths
            },
            x="images seen in stage 1 (1: none)",
            y=IOU,
            logarithmic=True,
        )
        return Report((table,), {IOU: chart}, tuple(self.answers(results)))

    def of(self, results: Results, width: str, count: int) -> Estimate | None:
        """IoU of one point."""
        return results.of(name_of(width, count), METRICS[IOU])

    def answers(self, results: Results) -> list[str]:
        """What each number of images adds over the same seeds, from which on it pays, the trend."""
        said = []
        for width in self.widths:
            none, metric = name_of(width, 0), METRICS[IOU]
            known = {
                count: found
                for count in self.images
                if count and (found := self.of(results, width, count))
            }
            gains = {
                count: gain
                for count in known
                if (gain := estimate(results.differences(name_of(width, count), none, metric)))
            }
            for count, gain in gains.items():
                said.append(f"{width}, {count} images instead of none: {IOU} {in_words(gain)}")
            if (least := pays_from(gains)) is not None:
                said.append(f"{width}: stage 1 pays from {least} images on")
            if len(known) >= FEWEST_POINTS:
                said.append(f"{width}: {trend(known)}")
        return said


def pays_from(gains: Mapping[int, Estimate]) -> int | None:
    """The least number of images from which on every gain is parted from none; None without one."""
    least = None
    for count in sorted(gains, reverse=True):
        if not (is_parted(gains[count]) and gains[count].mean > 0):
            break
        least = count
    return least


def trend(known: Mapping[int, Estimate]) -> str:
    """The line through IoU over the logarithm of images, and its error."""
    x = np.log10(list(known))
    y = np.array([found.mean for found in known.values()])
    slope, start = np.polyfit(x, y, 1)
    spread = float(np.std(y - (slope * x + start)))
    promise = slope * math.log10(1e6) + start
    words = (
        f"{IOU} changes by {slope:+.4f} for ten times the images; the {len(known)} points scatter "
        f"by {spread:.4f} about that line"
    )
    if slope <= 0 or promise > 1:
        return f"{words}, which promises nothing"
    return f"{words}, which would be {promise:.3f} at a million"


def name_of(width: str, count: int) -> str:
    """The variant of a width and a number of images."""
    return f"{width}_{count}"
