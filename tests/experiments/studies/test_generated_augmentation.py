"""Holds that both sides of the comparison see the same few real pictures, seed by seed."""

from experiments.comparing.study_plan import RUN, Child, plan_children
from experiments.studies.generated_augmentation import GeneratedAugmentation


def children() -> dict[str, Child]:
    study = GeneratedAugmentation("data/m.parquet", ("Tile with crack.",), shots=7)
    planned = plan_children(study, name="s", base=["b"], settings={}, seeds=[3], output="out")
    return {child.variant: child for child in planned}


def value_of(child: Child, option: str) -> str:
    return child.words[child.words.index(option) + 1]


def test_same_shots_are_real_painted_into_and_trained_on() -> None:
    found = children()
    stages = {"stage1": "pretrain", "real": "finetune", "real_and_generated": "finetune"}
    for name, stage in stages.items():
        assert value_of(found[name], f"--{stage}.data.init_args.shots_per_type") == "7"
        assert value_of(found[name], f"--{stage}.data.init_args.split_seed") == "3"
    assert value_of(found["painted"], "--max_images") == "7"
    assert value_of(found["painted"], "--seed") == "3"


def test_each_step_reads_what_the_one_before_has_written() -> None:
    found = children()
    assert value_of(found["painted"], "--checkpoint") == "out/runs/s.stage1_s3"
    assert value_of(found["generated"], "--root") == found["painted"].folder
    merged = value_of(found["merged"], "--source.init_args.manifests")
    assert merged == f"[data/m.parquet, {found['generated'].folder}/manifest.parquet]"
    manifests = {
        name: value_of(found[name], "--finetune.data.init_args.manifest")
        for name in ("real", "real_and_generated", "all_real")
    }
    assert manifests["real"] == manifests["all_real"] == "data/m.parquet"
    assert manifests["real_and_generated"] == f"{found['merged'].folder}/manifest.parquet"
    assert found["real_and_generated"].needs == ("merged_s3",)
    assert [name for name, child in found.items() if child.module == RUN] == [
        "stage1",
        "real",
        "all_real",
        "real_and_generated",
    ]
