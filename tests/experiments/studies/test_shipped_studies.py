"""Holds every study that we ship: its children parse, and it reports nothing, some and all."""

from functools import cache
from importlib.util import find_spec

import pytest

from experiments.config import CONFIG_FOLDER, load_config, parse_stage
from experiments.reporting.paper_tables import MEASURED, NOT_RUN, PAPER_ONLY
from experiments.reporting.plan import Child, Study, plan_children
from experiments.reporting.usual_report import ChildResult, Results, UsualReport
from experiments.study import read_study
from experiments.tables import to_markdown

FILES = sorted(path.name for path in (CONFIG_FOLDER / "studies").glob("*.yaml"))
TAGS = {"setting": "full", "dataset": "neu_seg", "scale": "tiny"}


@cache
def shipped(file: str) -> tuple[Study, UsualReport]:
    return read_study([f"studies/{file}"], ["--seeds", "[0]"])


def children(file: str) -> list[Child]:
    return plan_children(shipped(file)[0])


def measured(study: Study, child: Child) -> dict[str, float]:
    """What a child of this study gives: its figures, or what its command writes."""
    if child.module == "experiments.bench":
        return {"measurements/features/ours": 0.5}
    if child.module == "experiments.fidelity":
        kinds = ("fid", "kid", "is", "diversity", "nearest")
        middles = ("", "held_out_", "real_")
        return {
            f"generation/train/{kind}_{middle}mobilenetv2_100": 0.5
            for kind in kinds
            for middle in middles
        }
    return {study.metric_of(figure): 0.5 for figure in study.metrics}


def finished(file: str, some: list[Child]) -> Results:
    study = shipped(file)[0]
    return Results(
        {
            (child.variant, child.seed): ChildResult(
                f"id-{child.name}", measured(study, child), TAGS
            )
            for child in some
        }
    )


def rows(file: str, results: Results) -> list:  # type: ignore[type-arg]
    study, report = shipped(file)
    tables = report.report(study, results).tables
    assert all(to_markdown(table.as_table()) for table in tables)
    return [row for table in tables for row in table.rows]


@pytest.mark.parametrize("file", FILES)
def test_each_child_of_a_shipped_study_is_a_command_of_ours_that_parses(file: str) -> None:
    for child in children(file):
        if not child.is_run:
            assert find_spec(child.module) and child.folder
            continue
        words, configs = [*child.words], []
        while "--config" in words:
            at = words.index("--config")
            configs.append(words.pop(at + 1))
            words.pop(at)
        for option in ("--weights", "--thresholds"):
            if option in words:
                at = words.index(option)
                del words[at : at + 2]
        assert parse_stage(load_config(configs, words)).experiment == shipped(file)[0].name


@pytest.mark.parametrize("file", FILES)
def test_a_study_of_which_nothing_has_run_says_so(file: str) -> None:
    found = rows(file, Results({}))
    assert found and {row.status for row in found} <= {NOT_RUN, PAPER_ONLY}
    assert not any(row.runs for row in found)


@pytest.mark.parametrize("file", FILES)
def test_a_study_that_is_whole_measures_each_of_its_rows_and_names_the_runs(file: str) -> None:
    found = [row for row in rows(file, finished(file, children(file))) if row.status != PAPER_ONLY]
    assert found and not [row for row in found if row.status == NOT_RUN]
    assert [row for row in found if row.status == MEASURED]
    assert all(row.runs for row in found if row.status == MEASURED)


@pytest.mark.parametrize("file", FILES)
def test_a_study_that_is_half_done_still_reports(file: str) -> None:
    some = children(file)
    assert rows(file, finished(file, some[: len(some) // 2]))


@pytest.mark.parametrize("file", FILES)
def test_shipped_study_starts_with_a_line_of_explanation(file: str) -> None:
    assert (CONFIG_FOLDER / "studies" / file).read_text().startswith("# ")
