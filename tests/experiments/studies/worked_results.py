"""Results of a study as if its children had given these figures."""

from collections.abc import Mapping, Sequence

from experiments.comparing.study_plan import ChildResult, Results

TAGS = {"setting": "full", "dataset": "made", "scale": "tiny"}


def worked(metric: str, figures: Mapping[str, Sequence[float | None]]) -> Results:
    """The metric of each variant by seed 0, 1, ...; None where a child has not finished."""
    return Results(
        {
            (name, seed): ChildResult(f"{name}-{seed}", {metric: value}, TAGS)
            for name, values in figures.items()
            for seed, value in enumerate(values)
            if value is not None
        }
    )
