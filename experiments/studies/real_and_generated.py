"""Section 6.4: how far generated images are from real ones, beside how far other real ones are."""

from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.reporting.report import Results, UsualReport, bars, papers_alone
from experiments.reporting.rows import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLIT = "generation/train"
COMPARED = "fidelity"  # the variant that compares both kinds of images
# What its report says of generated and of held-out real images. The real images' own diversity
# stands for the held-out ones'; an inception score has none.
DISTANCES = {
    "fid": {"drawn": "", "held_out": "held_out_"},
    "kid": {"drawn": "", "held_out": "held_out_"},
    "is": {"drawn": ""},
    "diversity": {"drawn": "", "held_out": "real_"},
    "nearest": {"drawn": "", "held_out": "held_out_"},
}


class RealAndGenerated(UsualReport):
    """Each distance of generated images, and of held-out real ones by the same net."""

    def __init__(self, extractor: str) -> None:
        self.extractor = extractor

    def rows(self, results: Results) -> list[Row]:
        """A row per distance and kind of images, and what the paper says of its own."""
        ours = [
            replace(
                results.row(COMPARED, f"{SPLIT}/{distance}_{of_what}{self.extractor}"),
                labels={results.study.columns[0]: images},
                figure=f"{distance}_{self.extractor}",
            )
            for distance, kinds in DISTANCES.items()
            for images, of_what in kinds.items()
        ]
        return [*ours, *papers_alone(results.study)]

    def charts(self, results: Results) -> "dict[str, Figure]":
        """The first distance of both kinds of images."""
        rows = self.rows(results)
        figure = rows[0].figure
        heights = {
            " ".join(row.labels.values()): row.ours
            for row in rows
            if row.ours and row.figure == figure
        }
        return {figure: bars(heights, y=figure)}
