"""Small parts on disk: grey images with one square defect each, their Records and DataModule."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from datamodules.captions import Caption
from datamodules.imdd import IMDDDataModule
from datamodules.manifest import Manifest, Source, write_manifest
from datamodules.sample import MaskValues, Record
from datamodules.transforms import NativeCrop
from datamodules.vocabulary import Vocabulary

TYPES = ("crack", "stain")
VALUES = (MaskValues(1, 1, "crack"), MaskValues(2, 2, "stain"))
MakeRecords = Callable[[int], list[Record]]
MakeManifest = Callable[[int], Manifest]
MakeData = Callable[..., IMDDDataModule]


def write_part(folder: Path, number: int, *, size_px: tuple[int, int] = (40, 60)) -> Record:
    """One part with a 10 px defect at its left: types crack and stain, every third part good."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    pixels = rng.integers(60, 200, size=size_px, dtype=np.uint8)
    mask = np.zeros(size_px, dtype=np.uint8)
    name = ("", *TYPES)[number % 3]
    if name:
        mask[15:25, 4:14] = 1 + TYPES.index(name)
        pixels[mask > 0] = 255
    Image.fromarray(pixels).save(folder / f"{number:03}.png")
    Image.fromarray(mask).save(folder / f"{number:03}_mask.png")
    return Record(
        image=f"{number:03}.png",
        mask=f"{number:03}_mask.png",
        mask_values=VALUES,
        defects=(name,) if name else (),
        caption=Caption("plate", "steel", name, "the left" if name else ""),
        group=f"run{number // 2}",
        source="parts",
    )


class Parts(Source):
    """The parts that were written before."""

    name: ClassVar[str] = "parts"
    left_on_purpose = (("*", "not among the given ones"),)

    def __init__(self, records: list[Record]) -> None:
        self.given = records

    def records(self, root: Path) -> list[Record]:
        if not root.is_dir():
            raise FileNotFoundError(f"parts root {root} is missing: expected the parts")
        return self.given


def ready(data: IMDDDataModule) -> IMDDDataModule:
    """The DataModule, prepared and set up."""
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture
def make_records(tmp_path: Path) -> MakeRecords:
    """A function that writes `count` parts to tmp_path / "raw" and gives their Records."""
    return lambda count: [write_part(tmp_path / "raw", number) for number in range(count)]


@pytest.fixture
def make_manifest(tmp_path: Path, make_records: MakeRecords) -> MakeManifest:
    """A function that writes `count` parts and their manifest, all of them without a split."""
    return lambda count: write_manifest(
        tmp_path / "parts.parquet",
        make_records(count),
        root=tmp_path / "raw",
        vocabulary=Vocabulary.from_names(TYPES),
        source="parts",
    )


@pytest.fixture
def make_data(make_records: MakeRecords, tmp_path: Path) -> MakeData:
    """A function that gives the DataModule of 48 parts, with settings of the caller."""

    def make(**settings: object) -> IMDDDataModule:
        arguments = {
            "source": Parts(make_records(48)),
            "root": str(tmp_path / "raw"),
            "manifest_folder": str(tmp_path / "data"),
            "train_transform": NativeCrop(32),
            "batch_size": 4,
        }
        return IMDDDataModule(**(arguments | settings))  # type: ignore[arg-type]

    return make
