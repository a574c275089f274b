"""What is said of an image -> its Record, alike for all sources.

Where files lie is `layout.py`; what a format says of an image is told by the file of its name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from datamodules.captions import Caption
from datamodules.manifest import Source
from datamodules.sample import GOOD, SHOWN, STORED, UNLABELLED, MaskValues, Record, Region
from datamodules.vocabulary import TypeNames

UNNAMED_DEFECT = "defect"
UNANNOTATED = ("good", "unlabelled")
HIGHEST_GREY = 65535
JOINT = " and "
# Roboflow names each augmented copy <image>_<suffix>.rf.<hash>.<suffix>.
_COPY_MARK = ".rf."


def make_record(
    source: Source,
    image: str,
    *,
    product: str,
    material: str = "",
    defects: Sequence[str] = (),
    mask: str = "",
    mask_values: tuple[MaskValues, ...] = (),
    regions: Sequence[Region] = (),
    split: str = "",
    group: str = "",
    flaw: str = "",
) -> Record:
    """The Record of one image of a public set; without a group, the image is one of its own.

    defects: if not given, those of the regions, the one that covers most pixels first.
    """
    defects = tuple(defects) or dominant_first(regions)
    return Record(
        image=image,
        mask=mask,
        mask_values=mask_values if mask else (),
        defects=defects,
        caption=Caption(product, material, JOINT.join(defects)),
        group=f"{source.name}_{group or image}",
        source=source.name,
        split=split,
        regions=tuple(regions),
        licence=source.about.licence,
        flaw=flaw,
    )


def grey_values(
    defect: str, *, largest_good: int = 0, highest: int = 255
) -> tuple[MaskValues, ...]:
    """What the greys of a mask of one defect mean, of a good part for ""."""
    good = MaskValues(0, largest_good, GOOD)
    return (good, MaskValues(largest_good + 1, highest, defect)) if defect else (good,)


def dominant_first(regions: Sequence[Region]) -> tuple[str, ...]:
    """The names of the regions, the one that covers most pixels together first."""
    areas_px: dict[str, float] = {}
    for region in regions:
        areas_px[region.name] = areas_px.get(region.name, 0.0) + _area_px(region)
    return tuple(sorted(areas_px, key=lambda name: -areas_px[name]))


def _area_px(region: Region) -> float:
    """The area of a region, 0 where its numbers are unusable: inspection will say so."""
    numbers = region.numbers
    if region.kind == "runs":
        return sum(numbers[1::2])
    if region.kind == "box":
        return numbers[2] * numbers[3] if len(numbers) == 4 else 0.0
    across, down = numbers[0::2], numbers[1::2]
    if len(across) != len(down) or len(across) < 3:
        return 0.0
    next_across, next_down = across[1:] + across[:1], down[1:] + down[:1]
    corners = zip(across, down, next_across, next_down, strict=True)
    return abs(sum(x * below - right * y for x, y, right, below in corners)) / 2


@dataclass(frozen=True)
class RecordMaker:
    """The settings that all general sources share, and the Records made by them.

    unannotated: what an image without annotation is, "good" or "unlabelled". group_pattern: a
    regular expression searched in the image's path; its first bracket, or all that it matches,
    names the group. frame: "shown" or "stored", the pixels in which images that EXIF turns were
    annotated, "" where only sizes tell. Raises ValueError for another word and for a pattern that
    is none.
    """

    source: Source = field(repr=False)  # its repr is a place in memory
    product: str
    material: str
    licence: str
    group_pattern: str = ""
    unannotated: str = "unlabelled"
    frame: str = ""
    names: TypeNames = field(default_factory=TypeNames)

    def __post_init__(self) -> None:
        self.source.names, self.source.group_pattern = self.names, self.group_pattern
        if self.unannotated not in UNANNOTATED:
            raise ValueError(
                f"unannotated is {self.unannotated!r}: expected one of {', '.join(UNANNOTATED)}"
            )
        if self.frame not in ("", SHOWN, STORED):
            raise ValueError(f"frame is {self.frame!r}: expected {SHOWN} or {STORED}")
        try:
            re.compile(self.group_pattern)
        except re.error as error:
            raise ValueError(
                f"group_pattern is {self.group_pattern!r} ({error}): expected a regular expression "
                r"such as 'board(\d+)'"
            ) from error

    @property
    def counts_as_good(self) -> bool:
        """Whether an image without annotation is good."""
        return self.unannotated == "good"

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
        """The Record of one image; types: those without a place; size_px: (width, height).

        Of an image that is not labelled the split is "unlabelled", unless it names a type.
        """
        try:
            named = [replace(region, name=self.names.read(region.name)) for region in regions]
            placeless = [name for name in map(self.names.read, types) if name]
        except ValueError as error:
            named, placeless, flaw = [], [], flaw or str(error)
        drawn = tuple(region for region in named if region.name)
        defects = tuple(dict.fromkeys([*dominant_first(drawn), *placeless]))
        record = make_record(
            self.source,
            image,
            product=self.product,
            material=self.material,
            defects=defects,
            regions=drawn,
            split=split if is_labelled or defects else UNLABELLED,
            group=self._group_of(image),
            flaw=flaw,
        )
        return replace(
            record,
            licence=self.licence or record.licence,
            width_px=size_px[0],
            height_px=size_px[1],
            frame=self.frame,
        )

    def make_flawed(self, place: str, flaw: str) -> Record:
        """The Record of an annotation without usable image: its `place` stands for the image."""
        return self.make(place, flaw=flaw)

    def _group_of(self, image: str) -> str:
        """The group that an image's path names, else the image, its copies included."""
        match = re.search(self.group_pattern, image) if self.group_pattern else None
        if match is not None:
            return match[1] if match.re.groups and match[1] else match[0]
        folder, name = PurePosixPath(image).parent, PurePosixPath(image).name
        origin = name.partition(_COPY_MARK)[0] if _COPY_MARK in name else PurePosixPath(name).stem
        return (folder / origin).as_posix()
