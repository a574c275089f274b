"""Section 6.4: how far generated images are from real ones, beside how far other real ones are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.reporting.paper_tables import Row, bars
from experiments.reporting.plan import Study
from experiments.reporting.usual_report import Results, UsualReport

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

    def rows(self, study: Study, results: Results) -> Sequence[Row]:
        """A row per distance and kind of images."""
        return [
            Row(
                {study.columns[0]: images},
                f"{distance}_{self.extractor}",
                results.of(COMPARED, f"{SPLIT}/{distance}_{of_what}{self.extractor}"),
                setting=results.tag(COMPARED, "setting"),
                data=results.tag(COMPARED, "dataset"),
                runs=results.run_ids(COMPARED),
            )
            for distance, kinds in DISTANCES.items()
            for images, of_what in kinds.items()
        ]

    def charts(self, study: Study, results: Results) -> "dict[str, Figure]":
        """The first distance of both kinds of images."""
        rows = self.rows(study, results)
        figure = rows[0].figure
        found = [row for row in rows if row.figure == figure]
        return {figure: bars({row.labels[study.columns[0]]: row.ours for row in found}, y=figure)}
