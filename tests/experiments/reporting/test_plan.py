"""Holds that a study's children are commands: every variant under every seed, needs first."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.reporting import plan
from experiments.reporting.plan import Child, Study, Variant, plan_children
from tests.experiments.audits.small_manifest import small_manifest


def children(variants: dict[str, Variant], **settings: object) -> list[Child]:
    study = {
        "name": "trial",
        "base": ["neu_tiny_stage2.yaml"],
        "stage1": ["neu_tiny_stage1.yaml"],
        "settings": {"data": {"init_args": {"root": "D"}}},
        "output": "out",
    }
    return plan_children(Study(variants=variants, **{**study, **settings}))  # type: ignore[arg-type]


STAGE1 = Variant(is_stage1=True)
STAGE2 = Variant(pretrained="stage1", settings={"trainer.max_epochs": 2})
BOTH = {"stage1": STAGE1, "stage2": STAGE2}


def test_under_every_seed_stage_2_trains_on_its_own_stage_1() -> None:
    planned = children(BOTH, seeds=[3, 7])
    assert [one.name for one in planned] == ["stage1_s3", "stage2_s3", "stage1_s7", "stage2_s7"]
    stage1, stage2, *_ = planned
    assert stage1.words[:2] == ("--config", "neu_tiny_stage1.yaml")
    assert "--data.init_args.root" not in stage1.words
    assert stage2.needs == ("stage1_s3",)
    assert stage2.words == (
        *("--config", "neu_tiny_stage2.yaml", "--data.init_args.root", "D"),
        *("--trainer.max_epochs", "2", "--seed", "3", "--pretrained", "out/runs/trial.stage1_s3"),
        *("--name", "trial.stage2_s3", "--experiment", "trial", "--output", "out"),
    )


def test_folder_that_is_there_stands_for_a_variant_whose_settings_beat_the_studys() -> None:
    variant = replace(STAGE2, settings={"data.init_args.root": "E"})
    (child,) = children({"stage2": variant}, existing={"stage1": "runs/mine"})
    assert child.needs == ()
    assert child.words[child.words.index("--pretrained") + 1] == "runs/mine"
    assert child.words[child.words.index("--data.init_args.root") + 1] == "E"


def test_child_that_tests_given_weights_takes_their_thresholds() -> None:
    child = children({**BOTH, "again": Variant(tests="stage2")})[2]
    assert child.needs == ("stage2_s0",)
    place = "out/runs/trial.stage2_s0"
    assert {place, f"{place}/thresholds.json", "zero_shot"} < {*child.words}


BENCH = Variant(
    flags=["inference", "--out", "{here}/rows.json", "--repeats", "{repeats}"],
    needs=["stage1"],
    module="experiments.bench",
    results="rows.json",
    tags={"dataset": "{name}"},
)


def test_child_may_be_another_command_with_a_folder_of_its_own() -> None:
    child = children({"stage1": STAGE1, "cost": BENCH}, seeds=[2], values={"repeats": 3})[1]
    rows = "out/studies/trial/children/cost_s2/rows.json"
    assert child.words == ("inference", "--out", rows, "--repeats", "3")
    assert (child.results, child.tags) == (rows, {"dataset": "cost"})


def test_child_is_another_when_its_words_its_configuration_or_what_it_needs_is(
    tmp_path: Path,
) -> None:
    config = tmp_path / "mine.yaml"
    known = set()
    for content, epochs in (("seed: 0", 2), ("seed: 0 # the same", 2), ("seed: 1", 2), ("", 3)):
        config.write_text(content)
        plan._configuration.cache_clear()
        stage1 = replace(STAGE1, base=[str(config)], settings={"trainer.max_epochs": epochs})
        known.add(tuple(child.sha256 for child in children({"stage1": stage1, "cost": BENCH})))
    assert len(known) == 3
    assert len({sha256 for pair in known for sha256 in pair}) == 6


def test_child_is_another_when_its_images_are(tmp_path: Path) -> None:
    needs = Variant(needs=["own"], settings={"manifest": "{own}/manifest.parquet"})
    own = Variant(module="experiments.prepare", flags=["--out", "{here}"])
    variants = {"given": Variant(settings={"manifest": str(tmp_path / "manifest.parquet")})}
    variants |= {"own": own, "needs": needs}
    known = []
    for count in (0, 8, 8, 9):
        if count:
            small_manifest(tmp_path, count=count)
            small_manifest(tmp_path / "studies/trial/children/own_s0", count=count)
        known.append([child.sha256 for child in children(variants, output=str(tmp_path))])
    given, *others = zip(*known, strict=True)
    assert given[1] == given[2] and len(set(given)) == 3
    assert all(len(set(one)) == 1 for one in others)  # what a child prepares follows from its words


def test_braces_of_a_prompt_stay_as_they_are() -> None:
    flags = ["--prompt", "Plate {b} of {} with {here}", "--seed", "{seed}"]
    (child,) = children({"a": Variant(flags=flags, module="experiments.generate")})
    assert child.words[1] == "Plate {b} of {} with out/studies/trial/children/a_s0"
    assert child.words[3] == "0"


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ({"stage2": STAGE2}, "stage2 needs 'stage1', which is none of the variants above it"),
        ({"b": Variant(needs=["a"]), "a": Variant()}, "b needs 'a', which is none"),
        ({"a:b": Variant()}, "called 'a:b': expected letters, digits"),
    ],
)
def test_variants_that_cannot_be_run_are_refused(variants: dict[str, Variant], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        children(variants)
