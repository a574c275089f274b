"""Magnetic Tile Defects (Huang, Qiu, Yuan 2020) in its original layout.

Images are `MT_<Type>/Imgs/<name>.jpg`, the mask is `<name>.png` beside each;
all quirks of the set are dealt with here.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.captions import Caption, location_of, morphology_of
from datamodules.image_files import open_image
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import GOOD_WORDS, Vocabulary

UPSTREAM = "github.com/abin24/Magnetic-tile-defect-datasets."
FREE_FOLDER = "MT_Free"
FILE_NAME = re.compile(r"exp(?P<exposure>\d+)_num_(?P<capture>\d+)")
LARGEST_GAP_IN_RUN = 200
# Masks are soft, with every grey value from 0 to 255: only the upper half is defect.
LARGEST_GOOD_GREY = 127
CAUSES = {
    "blowhole": "gas trapped during sintering",
    "break": "mechanical impact on a brittle edge",
    "crack": "internal stress during cooling",
    "fray": "wear of the border during grinding",
    "uneven": "uneven grinding",
}
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
    starts a new run, and a run is one group.
    """

    name: ClassVar[str] = "mtd"

    def records(self, root: Path) -> list[Record]:
        """One Record per picture in the order of capture numbers.

        Four MT_Uneven masks are all zero: those records keep their type and have no mask.
        Raises FileNotFoundError for a missing root, folder or mask, ValueError for odd names.
        """
        root = Path(root)
        images = _find_images(root)
        runs = _capture_runs([_capture_number(image) for image in images])
        return [self._record(root, image, run=run) for image, run in zip(images, runs, strict=True)]

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The five types with their synonyms, whichever occur in records."""
        return Vocabulary((GOOD_WORDS, *((name, *words) for name, words in SYNONYMS.items())))

    def _record(self, root: Path, image: Path, *, run: str) -> Record:
        mask_path = image.with_suffix(".png")
        if not mask_path.is_file():
            raise FileNotFoundError(
                f"mask {mask_path.name} is missing in {mask_path.parent}: expected one beside "
                f"every image; get the whole set from {UPSTREAM}"
            )
        folder = image.parent.parent.name
        defect = "" if folder == FREE_FOLDER else _type_of(folder)
        mask = (
            open_image(mask_path)[..., 0] > LARGEST_GOOD_GREY if defect else np.zeros((1, 1), bool)
        )
        values: tuple[MaskValues, ...] = (MaskValues(0, LARGEST_GOOD_GREY, GOOD),)
        if defect:
            values = (*values, MaskValues(LARGEST_GOOD_GREY + 1, 255, defect))
        is_annotated = not defect or bool(mask.any())
        return Record(
            image=image.relative_to(root).as_posix(),
            mask=mask_path.relative_to(root).as_posix() if is_annotated else "",
            mask_values=values if is_annotated else (),
            defects=(defect,) if defect else (),
            caption=Caption(
                product="magnetic tile",
                material="ferrite",
                defect=defect,
                location=location_of(mask),
                morphology=morphology_of(mask),
                cause=CAUSES.get(defect, ""),
            ),
            group=f"{self.name}_{run}",
            source=self.name,
        )


def _find_images(root: Path) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(
            f"MTD root {root} is missing: expected the folder that holds MT_Blowhole, MT_Free, "
            f"...; get it from {UPSTREAM}"
        )
    folders = sorted(folder for folder in root.glob("MT_*") if folder.is_dir())
    # Masks lie in the same folders: only the JPEGs are images.
    images = [image for folder in folders for image in folder.glob("Imgs/*.jpg")]
    if not images:
        raise FileNotFoundError(
            f"MTD root {root} holds no MT_<Type>/Imgs/*.jpg: expected the folder that holds "
            f"MT_Blowhole, MT_Free, ...; get it from {UPSTREAM}"
        )
    return sorted(images, key=lambda image: (_capture_number(image), image.as_posix()))


def _type_of(folder: str) -> str:
    name = folder.removeprefix("MT_").lower()
    if name not in SYNONYMS:
        known = ", ".join(f"MT_{known.capitalize()}" for known in SYNONYMS)
        raise ValueError(
            f"MTD folder {folder} is unknown: expected {FREE_FOLDER}, {known}; rename or remove it"
        )
    return name


def _capture_number(image: Path) -> int:
    match = FILE_NAME.fullmatch(image.stem)
    if match is None:
        raise ValueError(
            f"MTD image {image.name} in {image.parent} is not named exp<E>_num_<N>.jpg: "
            "restore its name, it tells which pictures show the same tile"
        )
    return int(match["capture"])


def _capture_runs(sorted_numbers: Sequence[int]) -> list[str]:
    """The run of every capture number, named by the first number in it."""
    runs: list[str] = []
    for k, number in enumerate(sorted_numbers):
        starts = k == 0 or number - sorted_numbers[k - 1] > LARGEST_GAP_IN_RUN
        runs.append(f"run{number:06d}" if starts else runs[-1])
    return runs
