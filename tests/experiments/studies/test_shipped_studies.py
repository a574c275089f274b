"""Holds every study that we ship: its children parse, and it reports nothing, some and all."""

from functools import cache
from importlib.util import find_spec

import pytest
from jsonargparse import Namespace

from experiments.comparing.paper_tables import MEASURED, NOT_RUN, PAPER_ONLY
from experiments.comparing.study_plan import RUN, Child, ChildResult, Results
from experiments.configuration import CONFIG_FOLDER, load_layers, parse_stage
from experiments.run import chosen_stages, command_parser
from experiments.study import children_of, parse_study
from experiments.tables import to_markdown

FILES = sorted(path.name for path in (CONFIG_FOLDER / "studies").glob("*.yaml"))


@cache
def plan_of(file: str) -> Namespace:
    return parse_study([f"studies/{file}"], [])


def children(file: str) -> list[Child]:
    """The study's children under its first seed."""
    plan = plan_of(file)
    return [child for child in children_of(plan) if child.seed == plan.seeds[0]]


class EveryMetric(dict[str, float]):
    """Metrics of a child that measured whatever it is asked for."""

    def get(self, key: str, default: float = 0.0) -> float:  # type: ignore[override]
        return 0.5


def finished(some: list[Child]) -> Results:
    tags = {"setting": "full", "dataset": "neu_seg", "scale": "tiny"}
    return Results(
        {
            (child.variant, child.seed): ChildResult(
                f"id-{child.name}", EveryMetric({"measurements/features/ours": 0.5}), tags
            )
            for child in some
        }
    )


@pytest.mark.parametrize("file", FILES)
def test_each_child_of_a_shipped_study_is_a_command_of_ours_that_parses(file: str) -> None:
    for child in children(file):
        if child.module != RUN:
            assert find_spec(child.module) and child.folder
            continue
        arguments, overrides = command_parser().parse_known_args(list(child.words))
        stages = chosen_stages(load_layers(arguments.config, overrides), arguments.only)
        for _, stage in stages:
            assert parse_stage(stage).experiment == plan_of(file).name


@pytest.mark.parametrize("file", FILES)
def test_a_study_of_which_nothing_has_run_says_so(file: str) -> None:
    report = plan_of(file).study.report(Results({}))
    rows = [row for table in report.tables for row in table.rows]
    assert rows and {row.status for row in rows} <= {NOT_RUN, PAPER_ONLY}
    assert not any(row.runs for row in rows)
    assert all(to_markdown(table.as_table()) for table in report.tables)


@pytest.mark.parametrize("file", FILES)
def test_a_study_that_is_whole_measures_each_of_its_rows_and_names_the_runs(file: str) -> None:
    report = plan_of(file).study.report(finished(children(file)))
    rows = [row for table in report.tables for row in table.rows if row.status != PAPER_ONLY]
    assert rows and not [row for row in rows if row.status == NOT_RUN]
    assert all(row.runs for row in rows if row.status == MEASURED)


@pytest.mark.parametrize("file", FILES)
def test_a_study_that_is_half_done_still_reports(file: str) -> None:
    some = children(file)
    report = plan_of(file).study.report(finished(some[: len(some) // 2]))
    assert report.tables


@pytest.mark.parametrize("file", FILES)
def test_shipped_study_starts_with_a_line_of_explanation(file: str) -> None:
    assert (CONFIG_FOLDER / "studies" / file).read_text().startswith("# ")
