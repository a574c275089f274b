"""Magnetic Tile Defects (Huang, Qiu, Yuan 2020) in its original layout.

Images are `MT_<Type>/Imgs/<name>.jpg`, the mask is `<name>.png` beside each;
all quirks of the set are dealt with here.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import GOOD_WORDS, Vocabulary

FREE_FOLDER = "MT_Free"
IMAGE_SUFFIX = ".jpg"
FILE_NAME = re.compile(r"exp(?P<exposure>\d+)_num_(?P<capture>\d{1,18})")
LARGEST_GAP_IN_RUN = 200
# Pictures with odd names come before all runs, too far off to join one.
NO_NUMBER = -LARGEST_GAP_IN_RUN - 1
# Masks are soft, with every grey value from 0 to 255: only the upper half is defect.
LARGEST_GOOD_GREY = 127
SYNONYMS = {
    "blowhole": ("pore", "pinhole", "gas pore"),
    "break": ("chipped part", "broken edge"),
    "crack": ("fissure", "fracture"),
    "fray": ("frayed surface", "worn border"),
    "uneven": ("uneven surface", "uneven grinding"),
}


class Mtd(Source):
    """Grey photographs of ferrite tiles with five types of defect, grouped by capture run.

    A tile is photographed several times at consecutive capture numbers: a gap of more than 200
    starts a new run, and a run is one group. Four MT_Uneven masks are all zero.
    """

    name: ClassVar[str] = "mtd"
    about: ClassVar[About] = About(
        title="Magnetic Tile Defects (MTD)",
        licence="none stated; cite",
        licence_url="https://github.com/abin24/Magnetic-tile-defect-datasets.",
        citation=(
            "Y. Huang, C. Qiu, K. Yuan: Surface defect saliency of magnetic tile. "
            "The Visual Computer 36 (2020) 85-96"
        ),
        homepage="https://github.com/abin24/Magnetic-tile-defect-datasets.",
        instructions=(
            "git clone https://github.com/abin24/Magnetic-tile-defect-datasets. RAW (the dot "
            "belongs to the name), then in RAW: git checkout "
            "cc4eb530b57b9cb7225bf76023873043ffd50655; "
            "RAW then holds MT_Blowhole/Imgs to MT_Uneven/Imgs"
        ),
    )
    causes: ClassVar[Mapping[str, str]] = {
        "blowhole": "gas trapped during sintering",
        "break": "mechanical impact on a brittle edge",
        "crack": "internal stress during cooling",
        "fray": "wear of the border during grinding",
        "uneven": "uneven grinding",
    }

    def records(self, root: Path) -> list[Record]:
        """One Record per picture in the order of capture numbers.

        Raises FileNotFoundError for a missing root or folder, ValueError for an unknown folder.
        """
        images = sorted(_find_images(Path(root)), key=lambda image: (_capture_number(image), image))
        runs = _capture_runs([_capture_number(image) for image in images])
        return [self._record(image, run=run) for image, run in zip(images, runs, strict=True)]

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The five types with their synonyms, whichever occur in records."""
        return Vocabulary((GOOD_WORDS, *((name, *words) for name, words in SYNONYMS.items())))

    def _record(self, image: str, *, run: str) -> Record:
        folder = image.partition("/")[0]
        defect = _type_of(folder)
        values: tuple[MaskValues, ...] = (MaskValues(0, LARGEST_GOOD_GREY, GOOD),)
        if defect:
            values = (*values, MaskValues(LARGEST_GOOD_GREY + 1, 255, defect))
        flaw = f"{image} is not named exp<E>_num_<N>{IMAGE_SUFFIX}, which tells its capture run"
        return Record(
            image=image,
            mask=image.removesuffix(IMAGE_SUFFIX) + ".png",
            mask_values=values,
            defects=(defect,) if defect else (),
            caption=Caption("magnetic tile", "ferrite", defect),
            group=f"{self.name}_{run}",
            source=self.name,
            licence=self.about.licence,
            flaw=flaw if _capture_number(image) == NO_NUMBER else "",
        )


def _find_images(root: Path) -> list[str]:
    """The JPEGs of all MT_ folders as paths below root; the PNGs beside them are masks."""
    folders = sorted(path.name for path in root.glob("MT_*") if (path / "Imgs").is_dir())
    images = [
        f"{folder}/Imgs/{name}"
        for folder in folders
        for name in os.listdir(root / folder / "Imgs")
        if name.endswith(IMAGE_SUFFIX) and not name.startswith(".")
    ]
    if not images:
        raise FileNotFoundError(
            f"MTD root {root} holds no MT_<Type>/Imgs/*{IMAGE_SUFFIX}: expected the folder that "
            f"holds MT_Blowhole, MT_Free, ...; get it from {Mtd.about.homepage}"
        )
    return images


def _type_of(folder: str) -> str:
    """The type that a folder stands for, "" for MT_Free."""
    name = folder.removeprefix("MT_").lower()
    if folder == FREE_FOLDER:
        return ""
    if name not in SYNONYMS:
        known = ", ".join(f"MT_{known.capitalize()}" for known in SYNONYMS)
        raise ValueError(
            f"MTD folder {folder} is unknown: expected {FREE_FOLDER}, {known}; rename or remove it"
        )
    return name


def _capture_number(image: str) -> int:
    """The number in a picture's name, NO_NUMBER where it has none."""
    match = FILE_NAME.fullmatch(image.rpartition("/")[2].removesuffix(IMAGE_SUFFIX))
    return int(match["capture"]) if match else NO_NUMBER


def _capture_runs(sorted_numbers: Sequence[int]) -> list[str]:
    """The run of every capture number, named by the first number in it."""
    runs: list[str] = []
    for k, number in enumerate(sorted_numbers):
        starts = k == 0 or number - sorted_numbers[k - 1] > LARGEST_GAP_IN_RUN
        runs.append(f"run{number:06d}" if starts else runs[-1])
    return runs
