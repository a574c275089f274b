"""Table 1: at which noise level a frozen U-Net's features tell most, and what each level costs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.reporting.paper_figures import IOU, PAPER
from experiments.reporting.paper_tables import curves
from experiments.reporting.plan import Study
from experiments.reporting.usual_report import Results, UsualReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FeatureTimestep(UsualReport):
    """Curves over t and whether a best t can be told, for each mode: variants are MODE_tT.

    `single` noises at once, `sequential` step by step: t passes for each image.
    """

    def labels(self, study: Study) -> dict[str, dict[str, str]]:
        """The study's, and the paper's timesteps that it has not."""
        names = dict.fromkeys([*study.labels, *PAPER[study.paper]])
        return {name: {"mode": mode_of(name), "t": str(t_of(name))} for name in names}

    def charts(self, study: Study, results: Results) -> "dict[str, Figure]":
        """Each figure over t, a line for each mode."""
        return {
            figure: curves(
                {
                    mode: [
                        (t_of(name), results.of(name, study.metric_of(figure))) for name in names
                    ]
                    for mode, names in by_mode(study).items()
                },
                x="t",
                y=figure,
            )
            for figure in study.metrics
        }

    def answers(self, study: Study, results: Results) -> Sequence[str]:
        """Whether one t stands out from the others over the same seeds, by mode."""
        metric, said = study.metric_of(IOU), []
        for mode, names in by_mode(study).items():
            found = {name: known for name in names if (known := results.of(name, metric))}
            if len(found) < 2:
                continue
            best = max(found, key=lambda name: found[name].mean)
            rivals = []
            for name in found:
                gain = results.change(best, name, metric)
                if name != best and not (gain and gain.excludes_zero):
                    rivals.append(str(t_of(name)))
            said.append(
                f"{mode}: {IOU} is highest at t = {t_of(best)} ({found[best].mean:.3f}); "
                "over the same seeds it is "
                + (f"not parted from t = {', '.join(rivals)}" if rivals else "above all others")
            )
        return said


def by_mode(study: Study) -> dict[str, list[str]]:
    """The study's variants by mode."""
    modes = dict.fromkeys(map(mode_of, study.labels))
    return {mode: [name for name in study.labels if mode_of(name) == mode] for mode in modes}


def mode_of(name: str) -> str:
    """The mode in the name of a variant."""
    return name.partition("_t")[0]


def t_of(name: str) -> int:
    """The timestep in the name of a variant."""
    return int(name.partition("_t")[2])
