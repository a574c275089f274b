"""Files below a root that no record names, each with the reason; too many images or labels stop.

The files of a set are those of its manifest, those of its quarantine, and these.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from datamodules.file_walk import (
    IMAGE_SUFFIXES,
    LINKED_TWIN,
    Walk,
    count_reasons,
    is_lost_image,
    printable,
    why_no_image,
    write_reasons,
)
from datamodules.formats.layout import SPLIT_WORDS
from datamodules.manifest import Source
from datamodules.sample import Record

READ = "annotation, which was read"
OWN = "written by prepare"
LABEL_ALONE = "label file that no image claims"
# What tools put beside label files: no image of that name is missing.
PLAIN_STEMS = re.compile(
    rf"(readme|licen[cs]e|classes|notes|{'|'.join(SPLIT_WORDS)})(\.\w+)*", re.I
)


@dataclass(frozen=True)
class Leftovers:
    """What lies below a root and is named by no record.

    reasons: by path; named: how many files records name; lost: the images and the label files
    among the others that somebody could want, and of how many images or label files.
    """

    root: Path
    reasons: dict[str, str]
    named: int
    lost: tuple[tuple[str, list[str], int], ...]

    def keep(self, manifest: Path, limit: float) -> None:
        """Name them in a file beside the manifest, one a row.

        Raises ValueError where more than `limit` of all images or of all label files are lost.
        """
        written = write_reasons(manifest.with_suffix(".leftovers.csv"), self.reasons)
        remedies = (
            "name them in the annotations, save them as PNG or move them away",
            "add their images, or move them to where the layout has them",
        )
        for (kind, lost, count), remedy in zip(self.lost, remedies, strict=True):
            if len(lost) > limit * count:
                first = f"{printable(lost[0])} ({printable(self.reasons[lost[0]])})"
                raise ValueError(
                    f"{len(lost)} of {count} {kind} below {self.root} are left over, expected at "
                    f"most {limit:.1%}; the first is {first}: {remedy} (all are named in "
                    f"{written}), or let prepare allow more by --max_leftover_fraction"
                )

    def lines(self) -> list[str]:
        """How many files there are, and a line per reason with the first that was not read."""
        others = {path: why for path, why in self.reasons.items() if why != READ}
        read = len(self.reasons) - len(others)
        total = f"{self.named} images and masks, {read} annotation files, {len(others)} others"
        return [total, *count_reasons(others)]


def find_leftovers(
    source: Source,
    root: Path,
    found: Walk,
    records: Sequence[Record],
    *,
    read: Iterable[Path],
    output: Path,
) -> Leftovers:
    """What the records of a source leave of the files that were found below its root.

    read: the texts that the source read; output: where prepare writes, perhaps below the root.
    """
    named = {name for record in records for name in (record.image, record.mask)} & set(found.files)
    was_read = {os.path.relpath(path, root) for path in read}
    own = f"{os.path.relpath(output.resolve(), root.resolve())}/"
    twins = {found.own_places.get(name, "") for name in named}
    reasons, images, labels = dict(found.left_out), list[str](), list[str]()
    suffixes = tuple(source.label_suffixes)
    for path in found.files:
        is_label = path.lower().endswith(suffixes)
        is_label = is_label and not PLAIN_STEMS.fullmatch(PurePosixPath(path).name)
        if path in named:
            continue
        if path.startswith(own):
            reasons[path] = OWN
        elif path in twins or found.own_places.get(path) in named:
            reasons[path] = LINKED_TWIN
        elif path in was_read:
            reasons[path] = READ
        else:
            is_image = path.lower().endswith(IMAGE_SUFFIXES)
            why = source.unclaimed if is_image else LABEL_ALONE if is_label else ""
            reasons[path] = why = why or why_no_image(root, path)
            is_image |= is_lost_image(why)
            on_purpose = (why for sign, why in source.left_on_purpose if fnmatchcase(path, sign))
            if (is_image or is_label) and (why := next(on_purpose, "")):
                reasons[path] = why
            elif is_image or is_label:
                (images if is_image else labels).append(path)
    label_count = sum(path.lower().endswith(suffixes) for path in was_read)
    lost = (
        ("images", images, len(named) + len(images)),
        ("label files", labels, label_count + len(labels)),
    )
    return Leftovers(root, reasons, len(named), lost)
