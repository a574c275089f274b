"""Holds that both sides of the comparison see the same few real pictures, seed by seed."""

from dataclasses import replace
from pathlib import Path

from datamodules.captions import Caption
from datamodules.manifest import write_manifest
from datamodules.sample import Record
from datamodules.sources.merged import Merged
from datamodules.splits import FewShots
from datamodules.vocabulary import Vocabulary
from experiments.reporting.plan import Child, plan_children
from experiments.study import read_study


def children() -> dict[str, Child]:
    words = ["--values.shots", "7", "--values.manifest", "data/m.parquet", "--seeds", "[3]"]
    study, _ = read_study(["studies/generated_augmentation.yaml"], words)
    return {child.variant: child for child in plan_children(replace(study, name="s", output="out"))}


def value_of(child: Child, option: str) -> str:
    return child.words[child.words.index(option) + 1]


def test_same_shots_are_real_painted_into_and_trained_on() -> None:
    found = children()
    for name in ("stage1", "real", "real_and_generated"):
        assert value_of(found[name], "--data.init_args.shots_per_type") == "7"
        assert value_of(found[name], "--data.init_args.split_seed") == "3"
    assert value_of(found["real"], "--setting") == "k_shot_7"
    assert value_of(found["painted"], "--max_images") == "7"
    assert value_of(found["painted"], "--seed") == "3"


def test_each_step_reads_what_the_one_before_has_written() -> None:
    found = children()
    assert value_of(found["painted"], "--checkpoint") == "out/runs/s.stage1_s3"
    assert value_of(found["generated"], "--root") == found["painted"].folder
    merged = value_of(found["both_sets"], "--source.init_args.manifests")
    assert merged == f"[data/m.parquet, {found['generated'].folder}/manifest.parquet]"
    assert value_of(found["real_set"], "--source.init_args.manifests") == "[data/m.parquet]"
    real = f"{found['real_set'].folder}/manifest.parquet"
    for name in ("real", "all_real", "stage1"):
        assert value_of(found[name], "--manifest") == real
    assert value_of(found["painted"], "--images") == real
    both = value_of(found["real_and_generated"], "--manifest")
    assert both == f"{found['both_sets'].folder}/manifest.parquet"
    assert found["real_and_generated"].needs == ("both_sets_s3",)
    runs = [name for name, child in found.items() if child.is_run]
    assert runs == ["stage1", "real", "real_and_generated", "all_real"]


def test_merging_generated_pictures_in_changes_no_shot(tmp_path: Path) -> None:
    real = write_parts(tmp_path / "real", count=30)
    drawn = write_parts(tmp_path / "drawn", count=6, generated=True)
    chosen = []
    for manifests in ([real], [real, drawn]):
        records = [
            replace(record, split=record.split or "train")
            for record in Merged([str(path) for path in manifests]).records(tmp_path)
        ]
        vocabulary = Vocabulary.from_names(["crack"])
        index = write_manifest(
            tmp_path / f"{len(manifests)}.parquet",
            records,
            root=tmp_path,
            vocabulary=vocabulary,
            source="merged",
        )
        rows = FewShots(per_type=4, seed=1).choose(index, index.rows_of("train"))
        images = index.column("image")
        chosen.append({images[row] for row in rows.tolist() if "real" in images[row]})
    assert chosen[0] == chosen[1] and len(chosen[0]) == 8


def write_parts(folder: Path, *, count: int, generated: bool = False) -> Path:
    """A manifest of good and cracked parts, without their pictures."""
    folder.mkdir()
    names = ["crack" if number % 2 else "" for number in range(count)]
    records = [
        Record(
            image=f"{number}.png",
            mask="",
            mask_values=(),
            defects=(name,) if name else (),
            caption=Caption("plate", defect=name),
            group=f"{folder.name}{number}",
            source=folder.name,
            split="train",
            is_generated=generated,
        )
        for number, name in enumerate(names)
    ]
    vocabulary = Vocabulary.from_names(["crack"])
    return write_manifest(
        folder / "m.parquet", records, root=folder, vocabulary=vocabulary, source=folder.name
    ).path
