"""Several prepared manifests as one: many sets under one roof, with one name for each type.

Images are not copied: the root is a folder above the data of all manifests.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import ClassVar

from datamodules.formats.records import JOINT
from datamodules.language.terminology import Terminology
from datamodules.manifest import Manifest, Source
from datamodules.sample import KEY_LETTERS, UNLABELLED, Record
from datamodules.vocabulary import GOOD_WORDS, TypeNames, Vocabulary, normalise_name


class Merged(Source):
    """The records of `manifests` with paths seen from the root; each keeps its licence.

    manifests: paths, relative to the root or to where the command runs. Types get the names of
    the controlled vocabulary ("pin-hole" and "pinholes" become one). A source that comes from two
    manifests is named apart by its folder.
    keep_splits: splits stay; else they are cleared, and given anew by `prepare`. leave_out: the
    images of that source become test, and the test images of all others join training, their
    val stays (without keep_splits all their images do). Unlabelled images stay unlabelled, and
    generated ones in training. corrects: names stay as they are, later manifests train, and a file
    that trains and that a later manifest has again is what that one says of it.
    """

    name: ClassVar[str] = "merged"
    left_on_purpose = (("*", "left out of the manifests"),)

    def __init__(
        self,
        manifests: Sequence[str] = (),
        keep_splits: bool = True,
        leave_out: str = "",
        corrects: bool = False,
    ) -> None:
        self.manifests = tuple(manifests)
        self.keep_splits = keep_splits
        self.leave_out = leave_out
        self.corrects = corrects
        self.names = TypeNames()

    def records(self, root: Path) -> list[Record]:
        """The records of all manifests, in their order.

        Raises FileNotFoundError for a missing root or manifest, ValueError where a manifest's data
        is not below the root, an image is in two manifests, or leave_out is no source of theirs.
        """
        if not root.is_dir():
            raise FileNotFoundError(
                f"data root {root} is missing: expected a folder above the data of all manifests"
            )
        opened = _open_all(root, self.manifests)
        folders = [_folder_below(manifest, root) for manifest in opened]
        shared = _shared_sources(opened)
        records = []
        for place, (manifest, folder) in enumerate(zip(opened, folders, strict=True)):
            for row in range(len(manifest)):
                record = manifest[row]
                if self.corrects and place and record.split != UNLABELLED:
                    record = replace(record, split="train")
                source = record.source
                source = f"{source}@{folder or 'root'}" if source in shared else source
                records.append(self._moved(record, folder=folder, source=source))
        if not self.corrects:
            _refuse_duplicates(records)
        known = sorted({record.source for record in records if not record.is_generated})
        if self.leave_out and self.leave_out not in known:
            raise ValueError(
                f"leave_out is {self.leave_out!r}: expected one of the sources {', '.join(known)}"
            )
        records = [replace(record, split=self._split_of(record)) for record in records]
        return _last_said(records, len(opened[0])) if self.corrects else records

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The names of the records, sorted, with the synonyms of the controlled vocabulary."""
        plain = super().vocabulary(records)
        taken = set(GOOD_WORDS) | set(plain.names)
        entries: list[tuple[str, ...]] = []
        for name in plain.names[1:]:
            term = Terminology.load().find(name, "defect")
            words = (
                [normalise_name(word) for word in (*term.forms[:1], *term.synonyms)] if term else []
            )
            free = [word for word in dict.fromkeys(words) if word and word not in taken]
            taken |= set(free)
            entries.append((name, *free))
        return Vocabulary((GOOD_WORDS, *entries))

    def _moved(self, record: Record, *, folder: str, source: str) -> Record:
        """The record seen from the common root, with its group and names told apart or unified."""
        prefix = f"{folder}/" if folder else ""
        defects = tuple(dict.fromkeys(self._named(name) for name in record.defects))
        for name in record.defects:
            self.names.spell(self._named(name), name)
        caption = record.caption
        # A caption of several types was built by joining them; other words stay as they are.
        if caption.defect == JOINT.join(record.defects):
            caption = replace(caption, defect=JOINT.join(defects))
        elif caption.defect:
            caption = replace(caption, defect=self._named(caption.defect))
        return replace(
            record,
            image=prefix + record.image,
            mask=prefix + record.mask if record.mask else "",
            mask_values=tuple(
                replace(value, name=self._named(value.name)) for value in record.mask_values
            ),
            regions=tuple(
                replace(region, name=self._named(region.name)) for region in record.regions
            ),
            defects=defects,
            caption=caption,
            group=f"{source}/{record.group}",
            source=source,
        )

    def _named(self, name: str) -> str:
        """What a type is called: by the controlled vocabulary, or as it stands in corrections."""
        if self.corrects or name in GOOD_WORDS:
            return name
        return Terminology.load().normalise(name, "defect")

    def _split_of(self, record: Record) -> str:
        if record.split == UNLABELLED or record.is_generated:
            return record.split
        if self.leave_out:
            is_left_out = record.source == self.leave_out
            keeps_val = self.keep_splits and record.split == "val"
            return "test" if is_left_out else "val" if keeps_val else "train"
        return record.split if self.keep_splits else ""


def _open_all(root: Path, paths: Sequence[str]) -> list[Manifest]:
    if not paths:
        raise ValueError(
            "manifests is empty: expected the paths of prepared manifests, as in "
            "--source.manifests '[a/manifest.parquet, b/manifest.parquet]'"
        )
    opened = []
    for path in paths:
        place = root / path if (root / path).is_file() else Path(path)
        if not place.is_file():
            raise FileNotFoundError(
                f"manifest {path} is missing in {root} and here: expected one written by "
                "python -m experiments.prepare"
            )
        opened.append(Manifest.open(place))
    return opened


def _folder_below(manifest: Manifest, root: Path) -> str:
    """Where the manifest's data lies below the root, "" for the root itself."""
    data, top = manifest.root.resolve(), root.resolve()
    if not data.is_relative_to(top):
        raise ValueError(
            f"the data of {manifest.path} lies in {data}, expected it below {top}: "
            f"give --root {os.path.commonpath([data, top])}"
        )
    below = data.relative_to(top).as_posix()
    return "" if below == "." else below


def _shared_sources(manifests: Sequence[Manifest]) -> set[str]:
    """The sources that more than one manifest has."""
    counts = Counter(source for manifest in manifests for source in set(manifest.column("source")))
    return {source for source, count in counts.items() if count > 1}


def keys_of(record: Record) -> set[str]:
    """By what an image is known again: its content, and its name where that is another's content.

    So serve names what it saves, turned upright and in another format where it must be.
    """
    return {record.sha256[:KEY_LETTERS], PurePath(record.image).stem}


def _last_said(records: Sequence[Record], old_count: int) -> list[Record]:
    """Without training images that come again later; those of val and test stay.

    old_count: of those that stand first. Of these whole images and tiles go where their file, whole
    or another tile of it, is among the others.
    """
    last = {(one.sha256, one.window_xywh_px): place for place, one in enumerate(records)}
    again = {key for one in records[old_count:] for key in keys_of(one)}
    return [
        one
        for place, one in enumerate(records)
        if one.split in ("val", "test")
        or (
            last[one.sha256, one.window_xywh_px] == place
            and not (place < old_count and one.sha256[:KEY_LETTERS] in again)
        )
    ]


def _refuse_duplicates(records: Sequence[Record]) -> None:
    counts = Counter((record.image, record.window_xywh_px) for record in records)
    (image, _), count = counts.most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"image {image} is in {count} rows of the manifests, expected once: "
            "leave one manifest out"
        )
