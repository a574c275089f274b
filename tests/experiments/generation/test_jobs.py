"""Which images of a prepared set are painted into: good, real, and of training alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.captions import Caption
from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import Record
from datamodules.splits import FewShots
from datamodules.vocabulary import Vocabulary
from experiments.generation.jobs import good_training_images


def record(number: int, split: str, defect: str = "") -> Record:
    return Record(
        image=f"parts/{number}.png",
        mask="",
        mask_values=(),
        defects=(defect,) if defect else (),
        caption=Caption("plate", defect=defect),
        group=f"g{number}",
        source="parts",
        split=split,
    )


def written(folder: Path, records: Sequence[Record]) -> Path:
    vocabulary = Vocabulary.from_names(["crack"])
    return write_manifest(
        folder / "parts.parquet", records, root=folder, vocabulary=vocabulary, source="parts"
    ).path


def test_only_real_good_images_of_training_are_painted_into(tmp_path: Path) -> None:
    records = [
        record(0, "train"),
        record(1, "train", "crack"),
        record(2, "test"),
        record(3, "val"),
        replace(record(4, "train"), is_generated=True),
        record(5, "train"),
    ]
    found = good_training_images(written(tmp_path, records), None, seed=0)
    assert [image.name for image in found] == ["parts/0", "parts/5"]
    assert found[1].path == tmp_path / "parts/5.png"


def test_few_of_them_are_the_good_ones_of_the_few_shots(tmp_path: Path) -> None:
    records = [record(n, "train", "crack" if n % 2 else "") for n in range(40)]
    file = written(tmp_path, records)
    for seed in (0, 1):
        found = good_training_images(file, 5, seed=seed)
        shots = FewShots(5, seed=seed).choose(Manifest.open(file), np.arange(40))
        assert [image.name for image in found] == [f"parts/{n}" for n in shots if n % 2 == 0]


def test_set_without_good_images_is_one_line(tmp_path: Path) -> None:
    file = written(tmp_path, [record(0, "train", "crack"), record(1, "test")])
    with pytest.raises(ValueError, match="has no good image among its 1 of training"):
        good_training_images(file, None, seed=0)
