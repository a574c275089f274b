"""Holds that both sides of the comparison see the same few real images, seed by seed."""

from dataclasses import replace

import pytest

from experiments.reporting.plan import Child, plan_children
from experiments.study import read_study


@pytest.fixture(scope="module")
def children() -> dict[str, Child]:
    words = ["--values.shots", "7", "--values.manifest", "data/m.parquet", "--seeds", "[3]"]
    study, _ = read_study(["studies/generated_augmentation.yaml"], words)
    return {child.variant: child for child in plan_children(replace(study, name="s", output="out"))}


REAL = "out/studies/s/children/real_set_s3/manifest.parquet"
GENERATED = "out/studies/s/children/generated_s3/manifest.parquet"
BOTH = "out/studies/s/children/both_sets_s3/manifest.parquet"
FEW = {"--data.init_args.shots_per_type": "7", "--data.init_args.split_seed": "3"}


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("real_set", {"--source.init_args.manifests": "[data/m.parquet]"}),
        ("stage1", {**FEW, "--manifest": REAL}),
        ("painted", {"--checkpoint": "out/runs/s.stage1_s3", "--images": REAL}),
        ("painted", {"--max_images": "7", "--seed": "3"}),
        ("generated", {"--root": "out/studies/s/children/painted_s3"}),
        ("both_sets", {"--source.init_args.manifests": f"[data/m.parquet, {GENERATED}]"}),
        ("real", {**FEW, "--manifest": REAL, "--setting": "k_shot_7"}),
        ("real_and_generated", {**FEW, "--manifest": BOTH, "--setting": "k_shot_7_generated"}),
        ("all_real", {"--manifest": REAL}),
    ],
)
def test_each_step_reads_what_the_one_before_has_written_and_the_same_shots(
    variant: str, words: dict[str, str], children: dict[str, Child]
) -> None:
    said = children[variant].words
    assert {option: said[said.index(option) + 1] for option in words} == words
