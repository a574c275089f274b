"""Any runs as a table of the paper: seeds joined, its figures of the same setting below."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.comparing.estimates import estimate
from experiments.comparing.paper_figures import CATEGORIES, TRANSFER
from experiments.comparing.paper_tables import PaperFigure, PaperTable, Row
from experiments.comparing.tracked_children import FINISHED
from experiments.comparing.variants import METRICS
from experiments.runs import RunRow

# The paper's figures that say of which data and setting they are, by where they stand.
STATED: Mapping[str, Mapping[str, PaperFigure]] = {
    **{f"Table 5, {name}": figures for name, figures in CATEGORIES.items()},
    **{f"Table 6, {train} to {test}": figures for (train, test), figures in TRANSFER.items()},
}


def paper_table(title: str, runs: Sequence[RunRow]) -> PaperTable:
    """A row per figure and group of finished runs of one name, setting, data and scale.

    Of one seed the newest counts. Below them stand the paper's rows of any setting and data that
    a run has too.
    """
    newest: dict[Group, dict[str, RunRow]] = defaultdict(dict)
    for run in runs:  # oldest first
        if run.status == FINISHED:
            newest[Group.of(run)][run.tags.get("seed", run.run_id)] = run
    groups = {group: list(by_seed.values()) for group, by_seed in newest.items()}
    rows = [
        Row(
            {"run": group.name},
            figure,
            ours,
            setting=group.setting,
            data=group.data,
            scale=group.scale,
            runs=tuple(run.run_id for run in members if metric in run.metrics),
        )
        for figure, metric in METRICS.items()
        for group, members in groups.items()
        if (ours := estimate([run.metrics.get(metric, math.nan) for run in members]))
    ]
    known = {(group.setting, group.data) for group in groups}
    rows += [
        Row({"run": place}, figure, None, paper)
        for place, figures in STATED.items()
        for figure, paper in figures.items()
        if (paper.setting, paper.data) in known
    ]
    return PaperTable("compared", title, ("run",), tuple(rows))


@dataclass(frozen=True, slots=True)
class Group:
    """What runs of one row have in common."""

    name: str
    setting: str
    data: str
    scale: str

    @classmethod
    def of(cls, run: RunRow) -> "Group":
        """The group of a run."""
        said = (run.tags.get(name, "") for name in ("setting", "dataset", "scale"))
        return cls(name_without_seed(run), *said)


def name_without_seed(run: RunRow) -> str:
    """The run's name without the seed at its end, or before the stage's name."""
    seed = run.tags.get("seed", "")
    name, blank, stage = run.name.partition(" ")
    for ending in (f"_s{seed}", f"_{seed}"):
        if seed and name.endswith(ending):
            name = name.removesuffix(ending)
            break
    return f"{name}{blank}{stage}"
