"""What a general format says of a picture -> its Record, alike for all formats.

Types are normalised here, words for good parts dropped, groups found in the names.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from datamodules.captions import Caption
from datamodules.formats.label_table import defect_name
from datamodules.formats.region_areas import dominant_first
from datamodules.sample import UNLABELLED, Record, Region

# Roboflow names each augmented copy <picture>_<suffix>.rf.<hash>.<suffix>.
_COPY_MARK = ".rf."
UNANNOTATED = ("good", "unlabelled")


@dataclass(frozen=True)
class RecordMaker:
    """The settings that all general sources share, and the Records made by them.

    group_pattern: a regular expression searched in the picture's path; its first bracket, or all
    that it matches, names the group. Raises ValueError for a pattern that is none.
    """

    source: str
    product: str
    material: str
    licence: str
    group_pattern: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.group_pattern)
        except re.error as error:
            raise ValueError(
                f"group_pattern is {self.group_pattern!r} ({error}): expected a regular expression "
                r"such as 'board(\d+)'"
            ) from error

    def make(
        self,
        image: str,
        *,
        regions: Sequence[Region] = (),
        types: Sequence[str] = (),
        split: str = "",
        is_labelled: bool = True,
        size_px: tuple[int, int] = (0, 0),
        flaw: str = "",
    ) -> Record:
        """The Record of one picture; types are those without a place, size_px (width, height).

        Of a picture that is not labelled the split is "unlabelled", unless it names a type.
        """
        named = [replace(region, name=defect_name(region.name)) for region in regions]
        drawn = tuple(region for region in named if region.name)
        placeless = [name for name in map(defect_name, types) if name]
        defects = tuple(dict.fromkeys([*dominant_first(drawn), *placeless]))
        unprintable = [name for name in defects if not name.isprintable()]
        if unprintable:
            flaw = flaw or f"{image} has a type {unprintable[0]!r}: expected printable letters"
        return Record(
            image=image,
            mask="",
            mask_values=(),
            defects=defects,
            caption=Caption(self.product, self.material, " and ".join(defects)),
            group=self.group_of(image),
            source=self.source,
            split=split if is_labelled or defects else UNLABELLED,
            regions=drawn,
            licence=self.licence,
            width_px=size_px[0],
            height_px=size_px[1],
            flaw=flaw,
        )

    def make_flawed(self, place: str, flaw: str) -> Record:
        """The Record of an annotation without usable picture: its `place` stands for the image."""
        return self.make(place, flaw=flaw)

    def group_of(self, image: str) -> str:
        """The group that a picture's path names, else the picture, its copies included."""
        match = re.search(self.group_pattern, image) if self.group_pattern else None
        if match is not None:
            return f"{self.source}_{match[1] if match.re.groups and match[1] else match[0]}"
        folder, name = PurePosixPath(image).parent, PurePosixPath(image).name
        origin = name.partition(_COPY_MARK)[0] if _COPY_MARK in name else PurePosixPath(name).stem
        return f"{self.source}_{(folder / origin).as_posix()}"


def check_unannotated(value: str) -> bool:
    """Whether pictures without annotation are good; ValueError for a word that is no answer."""
    if value not in UNANNOTATED:
        raise ValueError(f"unannotated is {value!r}: expected one of {', '.join(UNANNOTATED)}")
    return value == "good"
