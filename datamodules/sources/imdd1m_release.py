"""The released captions of IMDD-1M joined to pictures that the user has from the original sets.

The release's folders (`5-10MT_tiles`, `570gear`, ...) hold CSV files, and the pictures of a
domain lie anywhere below its folder. How the CSV files are read is `released_captions.py`.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.decode import IMAGE_SUFFIXES
from datamodules.language.released_captions import ReleasedCaption, domain_of, read_release
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record
from datamodules.vocabulary import normalise_name

SHOWN_NAMES = 3
LOGGER = logging.getLogger(__name__)


class Imdd1mRelease(Source):
    """Pictures with the captions released for them, joined by domain and file name.

    captions_root: where the release's CSV files lie if not in the pictures' root itself; the
    pictures then lie in folders named as the release's or as its domains. require_images: rows
    without a picture are left out and counted in the log; else they are flawed Records.
    Pictures without a row, and rows that name only a product, are unlabelled.
    """

    name: ClassVar[str] = "imdd1m_release"
    about: ClassVar[About] = About(
        title="IMDD-1M caption release",
        licence="CC-BY-4.0",
        licence_url="https://creativecommons.org/licenses/by/4.0/",
        citation=(
            "T.-C. Ni, C.-C. Chen, Y.-F. Yang: Towards Open-Vocabulary Industrial Defect "
            "Understanding with a Large-Scale Multimodal Dataset. arXiv:2512.24160, CVPR 2026"
        ),
        homepage="https://github.com/NinaNeon/defect-detect",
        instructions=(
            "git clone https://github.com/NinaNeon/defect-detect RAW (captions only); the images "
            "are those of the 26 original sets: place each domain's images under its folder in RAW"
        ),
    )

    def __init__(self, *, captions_root: str = "", require_images: bool = True) -> None:
        self.captions_root = captions_root
        self.require_images = require_images

    def records(self, root: Path) -> list[Record]:
        """One Record per row that has a picture, in the rows' order, then the pictures without.

        Raises FileNotFoundError where there are no CSV files or no pictures for any row,
        ValueError for a CSV that is not the release's.
        """
        root = Path(root)
        rows = read_release(Path(self.captions_root) if self.captions_root else root)
        pictures = _find_pictures(root)
        owners: dict[str, list[ReleasedCaption]] = defaultdict(list)
        alone: list[ReleasedCaption] = []
        twins: dict[str, str] = {}
        for row in rows:
            found = _pictures_of(row, pictures)
            if not found:
                alone.append(row)
                continue
            owners[found[0]].append(row)
            if len(found) > 1:
                twins |= dict.fromkeys(found, f"pictures {', '.join(found[:SHOWN_NAMES])}")
        self._report(root, rows, alone)
        records = [
            self._record(image, claims[0], flaw=_flaw_of(claims, twins.get(image, "")))
            for image, claims in owners.items()
        ]
        if not self.require_images:
            records += [self._without_picture(row) for row in alone]
        unclaimed = sorted({path for paths in pictures.values() for path in paths} - owners.keys())
        return records + [self._unlabelled(path) for path in unclaimed]

    def _report(
        self, root: Path, rows: Sequence[ReleasedCaption], alone: Sequence[ReleasedCaption]
    ) -> None:
        if not alone:
            return
        first = f"{alone[0].image_name} ({alone[0].csv} row {alone[0].row})"
        if self.require_images and len(alone) == len(rows):
            raise FileNotFoundError(
                f"{root} holds no picture for any of the {len(rows)} caption rows, the first is "
                f"{first}: expected each domain's pictures below its folder"
            )
        LOGGER.warning(
            "%d of %d caption rows have no picture, the first is %s", len(alone), len(rows), first
        )

    def _record(self, image: str, row: ReleasedCaption, *, flaw: str) -> Record:
        defects = tuple(dict.fromkeys(normalise_name(name) for name in row.defects))
        material = f"{row.material} silicon" if row.material else ""
        return Record(
            image=image,
            mask="",
            mask_values=(),
            defects=defects,
            caption=Caption(row.product, material, " and ".join(defects)),
            group=f"{self.name}_{image}",
            source=self.name,
            split="" if defects or row.is_good else UNLABELLED,
            released_caption=row.caption,
            licence=self.about.licence,
            flaw=flaw,
        )

    def _without_picture(self, row: ReleasedCaption) -> Record:
        folder = row.csv.rpartition("/")[0] or row.domain
        flaw = f"{row.image_name} of {row.csv} row {row.row} has no picture below {folder}"
        return self._record(f"{folder}/{row.image_name}", row, flaw=flaw)

    def _unlabelled(self, image: str) -> Record:
        return Record(
            image=image,
            mask="",
            mask_values=(),
            defects=(),
            caption=Caption(_domain_of_folder(image.partition("/")[0])),
            group=f"{self.name}_{image}",
            source=self.name,
            split=UNLABELLED,
            # The licence of the captions says nothing of a picture that has none.
        )


def _find_pictures(root: Path) -> dict[str, list[str]]:
    """Lower-case file name -> the pictures of that name in folders of root, paths below root."""
    pictures: dict[str, list[str]] = defaultdict(list)
    for folder, inner, names in os.walk(root):
        inner.sort()
        place = Path(folder).relative_to(root).as_posix()
        if place == ".":
            continue  # a picture of no domain
        for name in sorted(names):
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                pictures[name.lower()].append(f"{place}/{name}")
    return pictures


def _pictures_of(row: ReleasedCaption, pictures: Mapping[str, list[str]]) -> list[str]:
    """The pictures that a row may mean: in its CSV's folder, else in a folder of its domain."""
    named = pictures.get(row.image_name.lower(), [])
    csv_folder, in_folder, _ = row.csv.partition("/")
    beside = [path for path in named if in_folder and path.partition("/")[0] == csv_folder]
    in_domain = [path for path in named if _is_in_domain(path, row.domain)]
    found = beside or in_domain
    # Where case tells two pictures apart, the spelling of the row decides.
    return [path for path in found if PurePosixPath(path).name == row.image_name] or found


def _is_in_domain(path: str, domain: str) -> bool:
    return _domain_of_folder(path.partition("/")[0]).lower() == domain.lower()


@cache
def _domain_of_folder(folder: str) -> str:
    return domain_of(f"{folder}/")


def _flaw_of(claims: Sequence[ReleasedCaption], twins: str) -> str:
    """Why a picture cannot be told from its rows: two of the name, or rows that disagree."""
    first = claims[0]
    if twins:
        return f"{twins} share the name of {first.csv} row {first.row}, expected one: rename them"
    other = next((row for row in claims if row.category != first.category), None)
    if other is None:
        return ""
    return (
        f"{first.image_name} is {first.category!r} in {first.csv} row {first.row}, but "
        f"{other.category!r} in {other.csv} row {other.row}: remove one row"
    )
