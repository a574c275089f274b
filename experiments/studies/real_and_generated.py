"""Section 6.4: how far generated images are from real ones, beside how far other real ones are."""

from collections.abc import Sequence

from experiments.reporting.paper_tables import Row
from experiments.reporting.plan import Study
from experiments.reporting.usual_report import Results, UsualReport

SPLIT = "generation/train"
FIGURES = ("fid", "kid", "is", "diversity", "nearest")
COMPARED = "fidelity"  # the variant that compares both kinds of images


class RealAndGenerated(UsualReport):
    """Each distance of generated images, and of held-out real ones by the same net."""

    def __init__(self, extractor: str) -> None:
        self.extractor = extractor

    def rows(self, study: Study, results: Results) -> Sequence[Row]:
        """A row per distance and kind of images; an inception score has no held-out one."""
        return [
            self.row(results, figure, images)
            for figure in FIGURES
            for images in ("drawn", "held_out")
            if (figure, images) != ("is", "held_out")
        ]

    def row(self, results: Results, figure: str, images: str) -> Row:
        """One distance; the real images' own diversity stands for held-out ones."""
        of_real = "real" if figure == "diversity" else "held_out"
        middle = "" if images == "drawn" else f"{of_real}_"
        return Row(
            {"pictures": images},
            f"{figure}_{self.extractor}",
            results.of(COMPARED, f"{SPLIT}/{figure}_{middle}{self.extractor}"),
            setting=results.tag(COMPARED, "setting"),
            data=results.tag(COMPARED, "dataset"),
            runs=results.run_ids(COMPARED),
        )
