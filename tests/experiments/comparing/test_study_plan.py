"""Holds that a study's children are commands: every variant under every seed, needs first."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.comparing.paper_tables import Report
from experiments.comparing.study_plan import (
    Child,
    ChildResult,
    Results,
    Study,
    Variant,
    command_of,
    configuration_sha256,
    plan_children,
    shown_command,
)


class Given(Study):
    """A study of these variants."""

    def __init__(self, *variants: Variant) -> None:
        self.given = variants

    def variants(self) -> Sequence[Variant]:
        return self.given

    def report(self, results: Results) -> Report:
        return Report(())


def children(*variants: Variant, seeds: Sequence[int] = (0,)) -> list[Child]:
    return plan_children(
        Given(*variants),
        name="trial",
        base=["neu_tiny.yaml"],
        settings={"data.init_args.root": "D"},
        seeds=seeds,
        output="out",
    )


STAGE1 = Variant("stage1", flags=("--only", "pretrain"))
STAGE2 = Variant(
    "stage2",
    {"finetune.model.init_args.pretrained": "{stage1}", "trainer.max_epochs": 2},
    flags=("--only", "finetune"),
    needs=("stage1",),
)


def test_every_variant_runs_under_every_seed() -> None:
    names = [child.name for child in children(STAGE1, STAGE2, seeds=(0, 7))]
    assert names == ["stage1_s0", "stage2_s0", "stage1_s7", "stage2_s7"]


def test_child_is_a_command_of_run() -> None:
    assert children(STAGE2, STAGE1, seeds=(3,))[1].words == (
        *("--config", "neu_tiny.yaml", "--only", "finetune", "--data.init_args.root", "D"),
        *("--finetune.model.init_args.pretrained", "out/runs/trial.stage1_s3"),
        *("--trainer.max_epochs", "2", "--seed", "3"),
        *("--name", "trial.stage2_s3", "--experiment", "trial", "--output", "out"),
    )


def test_a_variants_setting_beats_the_studys() -> None:
    (child,) = children(Variant("other", {"data.init_args.root": "E"}))
    assert child.words[child.words.index("--data.init_args.root") + 1] == "E"


def test_command_says_whose_child_it_is_and_resumes() -> None:
    (child,) = children(STAGE1)
    words = command_of(child, "trial", "parent-id")
    tags = json.loads(words[words.index("--tags") + 1])
    assert tags["study"] == "trial" and tags["child"] == "stage1_s0"
    assert tags["mlflow.parentRunId"] == "parent-id"
    assert tags["command_sha256"] == child.sha256
    assert words[-2:] == ["--resume", "auto"]


BENCH = Variant(
    "cost",
    flags=("inference", "--out", "{here}/rows.json"),
    needs=("stage1",),
    module="experiments.bench",
    results="rows.json",
)


def test_child_may_be_another_command_with_a_folder_of_its_own() -> None:
    child = children(STAGE1, BENCH, seeds=(2,))[1]
    assert child.words == ("inference", "--out", "out/studies/trial/children/cost_s2/rows.json")
    assert child.results == "out/studies/trial/children/cost_s2/rows.json"
    assert command_of(child, "trial", "id") == ["-m", "experiments.bench", *child.words]


def test_scheduler_runs_a_child_that_is_no_run_by_the_study_which_tracks_it() -> None:
    child = children(STAGE1, BENCH)[1]
    shown = shown_command(child, "trial", "id", words=["--config", "trial.yaml"])
    assert shown == "python -m experiments.study --config trial.yaml --child cost_s0"


def test_child_of_other_words_is_another_child() -> None:
    (one,), (other,) = children(STAGE1), children(Variant("stage1"))
    assert one.name == other.name and one.sha256 != other.sha256


def test_child_is_another_when_what_it_needs_is() -> None:
    changed = replace(STAGE1, settings={"trainer.max_epochs": 3})
    before, after = children(STAGE1, STAGE2, BENCH), children(changed, STAGE2, BENCH)
    assert [one.words for one in before[1:]] == [one.words for one in after[1:]]
    assert not {one.sha256 for one in before} & {one.sha256 for one in after}


def test_child_is_another_when_its_configuration_says_other_things(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    known = set()
    for content in ("seed: 0\n", "seed: 0 # the same\n", "seed: 1\n"):
        config.write_text(content)
        configuration_sha256.cache_clear()
        known.add(children(Variant("a", configs=(str(config),)))[0].sha256)
    assert len(known) == 2


def test_braces_of_a_prompt_stay_as_they_are() -> None:
    flags = ("--prompt", "Plate {b} of {} with {here}", "--seed", "{seed}")
    (child,) = children(Variant("a", flags=flags, module="experiments.generate"))
    assert child.words[1] == "Plate {b} of {} with out/studies/trial/children/a_s0"
    assert child.words[3] == "0"


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ((STAGE1, STAGE1), "one name"),
        ((STAGE2,), "'stage1', which is none"),
        ((Variant("a:b"),), "called 'a:b': expected letters, digits"),
        ((Variant("a", needs=("b",)), Variant("b", needs=("a",))), "needs itself"),
    ],
)
def test_variants_that_cannot_be_run_are_refused(variants: tuple[Variant, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        children(*variants)


def test_a_figure_is_the_mean_over_the_seeds_that_have_finished() -> None:
    found = {
        ("a", 0): ChildResult("r0", {"iou": 0.2}, {"setting": "full"}),
        ("a", 1): ChildResult("r1", {"iou": 0.4}, {"setting": "full"}),
        ("b", 0): ChildResult("r2", {}, {}),
    }
    results = Results(found)
    of_a = results.of("a", "iou")
    assert of_a is not None and of_a.mean == pytest.approx(0.3)
    assert results.of("b", "iou") is None
    assert results.tag("a", "setting") == "full"
    assert results.run_ids("a") == ["r0", "r1"]


def test_child_that_trains_goes_on_and_one_with_given_weights_does_not() -> None:
    trains, tests = Child("a", "a", 0, ("--seed", "0")), Child("b", "b", 0, ("--weights", "w"))
    assert command_of(trains, "s", "p")[-2:] == ["--resume", "auto"]
    assert "--resume" not in command_of(tests, "s", "p")
