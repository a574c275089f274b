"""Magnetic Tile Defects (Huang, Qiu, Yuan 2020) in its original layout.

Images are `MT_<Type>/Imgs/<name>.jpg`, the mask is `<name>.png` beside each;
all quirks of the set are dealt with here.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_images
from datamodules.formats.records import grey_values, make_record
from datamodules.manifest import Source
from datamodules.sample import Record

FREE_FOLDER = "MT_Free"
LARGEST_GAP_IN_RUN = 200
# Images with odd names come before all runs, too far off to join one.
NO_NUMBER = -LARGEST_GAP_IN_RUN - 1


class Mtd(Source):
    """Grey photographs of ferrite tiles with five types of defect, grouped by capture run.

    A tile is photographed several times at consecutive capture numbers: a gap of more than 200
    starts a new run, and a run is one group. Masks are soft, with every grey value from 0 to 255:
    only the upper half is defect. Four MT_Uneven masks are all zero.
    """

    name: ClassVar[str] = "mtd"
    types = (
        ("blowhole", "pore", "pinhole", "gas pore"),
        ("break", "chipped part", "broken edge"),
        ("crack", "fissure", "fracture"),
        ("fray", "frayed surface", "worn border"),
        ("uneven", "uneven surface", "uneven grinding"),
    )
    causes: ClassVar[Mapping[str, str]] = {
        "blowhole": "gas trapped during sintering",
        "break": "mechanical impact on a brittle edge",
        "crack": "internal stress during cooling",
        "fray": "wear of the border during grinding",
        "uneven": "uneven grinding",
    }

    def records(self, root: Path) -> list[Record]:
        """One Record per image in the order of capture numbers.

        Raises FileNotFoundError for a missing root or folder, ValueError for an unknown folder.
        """
        images = glob_images(root, "MT_*/Imgs/*.jpg")
        if not images:
            raise absent_layout(root, self.about.title, "MT_Blowhole, MT_Free, ... with Imgs")
        records = []
        last, run = NO_NUMBER, ""
        for image in sorted(images, key=lambda image: (_capture_number(image), image)):
            number = _capture_number(image)
            run = run if run and number - last <= LARGEST_GAP_IN_RUN else f"run{number:06d}"
            last = number
            records.append(self._record(image, run=run))
        return records

    def _record(self, image: str, *, run: str) -> Record:
        folder = image.partition("/")[0]
        defect = "" if folder == FREE_FOLDER else folder.removeprefix("MT_").lower()
        if defect and defect not in self.causes:
            known = ", ".join(f"MT_{name.capitalize()}" for name in self.causes)
            raise ValueError(
                f"MTD folder {folder} is unknown: expected {FREE_FOLDER}, {known}; rename or "
                "remove it"
            )
        flaw = f"{image} is not named exp<E>_num_<N>.jpg, which tells its capture run"
        return make_record(
            self,
            image,
            product="magnetic tile",
            material="ferrite",
            defects=(defect,) if defect else (),
            mask=PurePosixPath(image).with_suffix(".png").as_posix(),
            mask_values=grey_values(defect, largest_good=127),
            group=run,
            flaw=flaw if _capture_number(image) == NO_NUMBER else "",
        )


def _capture_number(image: str) -> int:
    """The number in an image's name, NO_NUMBER where it has none."""
    match = re.fullmatch(r"exp\d+_num_(\d{1,18})", PurePosixPath(image).stem)
    return int(match[1]) if match else NO_NUMBER
