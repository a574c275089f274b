"""The released captions of IMDD-1M joined to images that the user has from the original sets.

The release's folders (`5-10MT_tiles`, `570gear`, ...) hold CSV files, and the images of a
domain lie anywhere below its folder. How the CSV files are read is `released_captions.py`.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.file_walk import image_paths
from datamodules.formats.records import make_record
from datamodules.language.released_captions import ReleasedCaption, domain_of, read_release
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record
from datamodules.vocabulary import normalise_name

SHOWN_NAMES = 3
LOGGER = logging.getLogger(__name__)


class Imdd1mRelease(Source):
    """Images with the captions released for them, joined by domain and file name.

    captions_root: where the release's CSV files lie if not in the images' root itself; the
    images then lie in folders named as the release's or as its domains. Rows without an image are
    left out and counted in the log. Images without a row, and rows that name only a product, are
    unlabelled.
    """

    name: ClassVar[str] = "imdd1m_release"

    def __init__(self, *, captions_root: str = "") -> None:
        self.captions_root = captions_root

    def records(self, root: Path) -> list[Record]:
        """One Record per row that has an image, in the rows' order, then the images without.

        Raises FileNotFoundError where there are no CSV files or no images for any row,
        ValueError for a CSV that is not the release's.
        """
        rows = read_release(Path(self.captions_root) if self.captions_root else root)
        # An image at the top is of no domain.
        found_images = (path.relative_to(root).as_posix() for path in image_paths(root))
        images = sorted(path for path in found_images if "/" in path)
        by_name: dict[str, list[str]] = defaultdict(list)
        for path in images:
            by_name[PurePosixPath(path).name.lower()].append(path)
        owners: dict[str, list[ReleasedCaption]] = defaultdict(list)
        alone: list[ReleasedCaption] = []
        alike: dict[str, str] = {}
        for row in rows:
            found = _images_of(row, by_name)
            if not found:
                alone.append(row)
                continue
            owners[found[0]].append(row)
            if len(found) > 1:
                alike |= dict.fromkeys(found, f"images {', '.join(found[:SHOWN_NAMES])}")
        _report(root, rows, alone)
        records = [
            self._record(image, claims[0], flaw=_flaw_of(claims, alike.get(image, "")))
            for image, claims in owners.items()
        ]
        for image in sorted(set(images) - owners.keys()):
            product = _domain_of_folder(image.partition("/")[0])
            record = make_record(self, image, product=product, split=UNLABELLED)
            # The licence of the captions says nothing of an image that has none.
            records.append(replace(record, licence=""))
        return records

    def _record(self, image: str, row: ReleasedCaption, *, flaw: str) -> Record:
        defects = tuple(dict.fromkeys(normalise_name(name) for name in row.defects))
        record = make_record(
            self,
            image,
            product=row.product,
            material=f"{row.material} silicon" if row.material else "",
            defects=defects,
            split="" if defects or row.is_good else UNLABELLED,
            flaw=flaw,
        )
        return replace(record, released_caption=row.caption)


def _report(root: Path, rows: Sequence[ReleasedCaption], alone: Sequence[ReleasedCaption]) -> None:
    """Log how many rows have no image; FileNotFoundError where none has one."""
    if not alone:
        return
    first = f"{alone[0].image_name} ({alone[0].csv} row {alone[0].row})"
    if len(alone) == len(rows):
        raise FileNotFoundError(
            f"{root} holds no image for any of the {len(rows)} caption rows, the first is "
            f"{first}: expected each domain's images below its folder"
        )
    LOGGER.warning(
        "%d of %d caption rows have no image, the first is %s", len(alone), len(rows), first
    )


def _images_of(row: ReleasedCaption, by_name: Mapping[str, list[str]]) -> list[str]:
    """The images that a row may mean: in its CSV's folder, else in a folder of its domain."""
    named = by_name.get(row.image_name.lower(), [])
    csv_folder, in_folder, _ = row.csv.partition("/")
    beside = [path for path in named if in_folder and path.partition("/")[0] == csv_folder]
    domain = row.domain.lower()
    in_domain = [p for p in named if _domain_of_folder(p.partition("/")[0]).lower() == domain]
    found = beside or in_domain
    # Where case tells two images apart, the spelling of the row decides.
    return [path for path in found if PurePosixPath(path).name == row.image_name] or found


@cache
def _domain_of_folder(folder: str) -> str:
    return domain_of(f"{folder}/")


def _flaw_of(claims: Sequence[ReleasedCaption], alike: str) -> str:
    """Why an image cannot be told from its rows: two of the name, or rows that disagree."""
    first = claims[0]
    if alike:
        return f"{alike} share the name of {first.csv} row {first.row}, expected one: rename them"
    other = next((row for row in claims if row.category != first.category), None)
    if other is None:
        return ""
    return (
        f"{first.image_name} is {first.category!r} in {first.csv} row {first.row}, but "
        f"{other.category!r} in {other.csv} row {other.row}: remove one row"
    )
