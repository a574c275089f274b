"""Section 6.3: how large prepared sets are, how long their tail, and how much in them is alike."""

from collections.abc import Mapping, Sequence

from experiments.comparing.paper_figures import STATISTICS
from experiments.comparing.paper_tables import PaperTable, Report, Row
from experiments.comparing.study_plan import Results, Study, Variant

# Our names of figures and the places of audit.json that hold them.
FIGURES = {
    "pictures": "Alike pictures/pictures",
    "defective_pictures": "Long tail/defective_pictures",
    "domains": "Long tail/domains",
    "types": "Long tail/types",
    "top10_share": "Long tail/share_of_top_10_types",
    "rare_types": "Long tail/types_below_10_pictures",
    "gini_of_types": "Long tail/gini_of_types",
    "groups_of_alike": "Alike pictures/groups_of_alike_pictures",
}


class DatasetStatistics(Study):
    """An audit of each set; `sets`: manifests by name."""

    def __init__(self, sets: dict[str, str]) -> None:
        self.sets: Mapping[str, str] = sets

    def variants(self) -> Sequence[Variant]:
        """An audit for each set; nothing is trained."""
        return [
            Variant(
                name,
                flags=("--manifest", file, "--out", "{here}", "--overwrite"),
                module="experiments.audit",
                results="audit.json",
            )
            for name, file in self.sets.items()
        ]

    def report(self, results: Results) -> Report:
        """A row per figure and set, and the paper's of its own corpus."""
        found = tuple(
            Row(
                {"set": name},
                figure,
                results.of(name, metric),
                setting="full",
                data=name,
                runs=tuple(results.run_ids(name)),
            )
            for figure, metric in FIGURES.items()
            for name in self.sets
        )
        papers = tuple(
            Row({"set": paper.data}, figure, None, paper) for figure, paper in STATISTICS.items()
        )
        title = "Section 6.3: what the sets hold"
        return Report((PaperTable("section_6_3", title, ("set",), (*found, *papers)),))
