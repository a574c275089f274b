"""Holds every study that we ship: its children parse, and it reports nothing, some and all."""

import json
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import Namespace

from experiments.audit import audit
from experiments.cli import call_command, command_parser
from experiments.config import CONFIG_FOLDER, build_stage, load_config, parse_stage
from experiments.reporting.plan import Child, Study, plan_children
from experiments.reporting.report import Results, UsualReport
from experiments.reporting.rows import MEASURED, NOT_RUN, PAPER_ONLY, Row
from experiments.reporting.runs import flat_numbers
from experiments.studies.real_and_generated import DISTANCES, SPLIT
from experiments.study import read_study
from experiments.tables import to_markdown
from lightning_modules.nets.diffusion_model import DiffusionModel
from tests.experiments.audits.small_manifest import small_manifest
from tests.experiments.reporting.finished_run import finished_run

FILES = sorted(path.name for path in (CONFIG_FOLDER / "studies").glob("*.yaml"))
SD15_PARAMETERS = 859_520_964
TAGS = {"setting": "full", "dataset": "neu_seg", "scale": "tiny"}
# What the commands write that are no run.
WRITTEN = {
    "measurements/features/ours": 0.5,
    **{
        f"{SPLIT}/{distance}_{of_what}mobilenetv2_100": 0.5
        for distance, kinds in DISTANCES.items()
        for of_what in kinds.values()
    },
}


@cache
def shipped(file: str) -> tuple[Study, UsualReport]:
    return read_study([f"studies/{file}"], ["--seeds", "[0]"])


def children(file: str) -> list[Child]:
    return plan_children(shipped(file)[0])


def stage_of(child: Child) -> Namespace:
    """The stage of a child that is a run, typed and checked."""
    words = dict(zip(child.words[::2], child.words[1::2], strict=True))
    pairs = zip(child.words[::2], child.words[1::2], strict=True)
    configs = [value for option, value in pairs if option == "--config"]
    options = words.keys() - {"--config", "--weights", "--thresholds"}
    return parse_stage(load_config(configs, [w for o in options for w in (o, words[o])]))


def type_name(model: Namespace) -> str:
    return str(model.class_path).rpartition(".")[2]


def diffusion_of(model: Any) -> DiffusionModel:
    found: DiffusionModel = getattr(model, "diffusion", None) or model.features.diffusion
    return found


def rows_of(file: str, finished: list[Child]) -> list[Row]:
    """What the study says when these have finished, each of its figures 0.5."""
    study, report = shipped(file)
    metrics = {study.metric_of(figure): 0.5 for figure in study.metrics} | WRITTEN
    found = {
        (child.variant, child.seed): finished_run(f"id-{child.name}", metrics, TAGS)
        for child in finished
    }
    tables = report.report(Results(study, found)).tables
    assert all(to_markdown(table.as_table()) for table in tables)
    return [row for table in tables for row in table.rows]


@pytest.mark.parametrize("file", FILES)
def test_each_child_of_a_shipped_study_is_a_command_of_ours_that_parses(file: str) -> None:
    for child in children(file):
        if not child.is_run:
            module, name = import_module(child.module), child.module.rpartition(".")[2]
            _, overrides = command_parser(getattr(module, name)).parse_known_args(child.words)
            assert child.folder and all(word.startswith("--source.") for word in overrides[::2])
            continue
        assert stage_of(child).experiment == shipped(file)[0].name


@pytest.mark.parametrize("file", FILES)
def test_a_study_stands_on_the_papers_own_stages_where_they_are_its_base(file: str) -> None:
    study = shipped(file)[0]
    words = []
    for key, papers in (("base", "stage2.yaml"), ("stage1", "stage1.yaml")):
        if own := getattr(study, key):
            words += [f"--{key}", json.dumps([papers, *own[1:]])]
    if not study.base or study.base == ["baselines/constant.yaml"]:
        pytest.skip(f"{file} has no stage 2 as its base")
    built: set[bool] = set()
    for child in plan_children(read_study([f"studies/{file}"], [*words, "--seeds", "[0]"])[0]):
        if not child.is_run or study.variants[child.variant].base:
            continue
        is_stage1 = study.variants[child.variant].is_stage1
        stage = stage_of(child)
        assert type_name(stage.model) == ("DiffusionPretrain" if is_stage1 else "MaskFinetune")
        if is_stage1 not in built:
            built.add(is_stage1)
            with torch.device("meta"):
                model = build_stage(stage).model
            denoiser = sum(one.numel() for one in diffusion_of(model).denoiser.parameters())
            assert denoiser == SD15_PARAMETERS
    assert False in built


@pytest.mark.parametrize("file", FILES)
def test_each_child_reads_what_those_before_it_have_written(file: str) -> None:
    folders = {child.name: child.folder for child in children(file)}
    for child in children(file):
        words = " ".join(child.words)
        assert not re.search(r"\{\w", words)
        assert all(folders[need] in words for need in child.needs)


@pytest.mark.parametrize("file", FILES)
def test_a_study_reports_nothing_half_and_all_of_it(file: str) -> None:
    some = children(file)
    nothing = rows_of(file, [])
    lacking = {variant.lacks for variant in shipped(file)[0].variants.values()}
    assert nothing and {row.status for row in nothing} <= {NOT_RUN, PAPER_ONLY, *lacking}
    assert not any(row.runs for row in nothing)
    assert rows_of(file, some[: len(some) // 2])
    whole = [row for row in rows_of(file, some) if row.status != PAPER_ONLY]
    assert MEASURED in {row.status for row in whole}
    assert all(row.status != NOT_RUN and row.runs for row in whole)


def test_audit_leaves_each_figure_that_dataset_statistics_reads(tmp_path: Path) -> None:
    words = ["--manifest", str(small_manifest(tmp_path).path), "--out", str(tmp_path / "report")]
    assert call_command(audit, words) == 0
    left = flat_numbers(json.loads((tmp_path / "report" / "audit.json").read_text()))
    study, _ = shipped("dataset_statistics.yaml")
    assert not {study.metric_of(figure) for figure in study.metrics} - left.keys()
