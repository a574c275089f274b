"""Anyone's own images with YOLO labels: boxes or polygons in one text file per image.

root/data.yaml                      names; train, val, test as folders or lists of images
root/images/<split>/.../<name>      images, also <split>/images/<name> as Roboflow writes it
root/labels/<split>/.../<name>.txt  <class> <x> <y> <width> <height>, or <class> <x1> <y1> <x2> ...
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from datamodules.formats.layout import FileTree, folder_of, join_below, scan_tree, split_of_path
from datamodules.formats.records import RecordMaker
from datamodules.formats.text_files import read_text
from datamodules.formats.yolo import SPLIT_KEYS, YoloData, read_data, read_labels
from datamodules.manifest import Source
from datamodules.sample import Record

LAYOUT = "expected data.yaml, images/<split>/ and labels/<split>/"


class Yolo(Source):
    """Detection labels become boxes, segmentation and oriented boxes become masks.

    An empty text file says that the image is good. unannotated: what an image without text file
    is, "unlabelled" or "good" (as YOLO itself counts it). data: the YAML file below the root.
    Labels are relative to the image, so that its header is read for the size. A labelled image
    that EXIF turns is refused: nobody can tell whether it was labelled as stored or as shown.
    """

    name: ClassVar[str] = "yolo"

    def __init__(
        self,
        data: str = "data.yaml",
        unannotated: str = "unlabelled",
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
    ) -> None:
        self.data = data
        self.maker = RecordMaker(self, product, material, licence, group_pattern, unannotated)

    def records(self, root: Path) -> list[Record]:
        """One Record per image of the splits in data.yaml, of images/ where it names none.

        Raises FileNotFoundError for no images or no data.yaml, ValueError for one that is none
        or whose folders are not there.
        """
        root = Path(root)
        tree = scan_tree(root, documents=(".txt", ".yaml", ".yml"), remedy=LAYOUT)
        file = join_below("", self.data)
        if file not in tree:
            raise FileNotFoundError(f"{root} holds no {file}: {LAYOUT}; see --source.data")
        data = read_data(root / file)
        records: dict[str, Record] = {}
        splits: dict[str, str] = {}
        for split, image in _listed(root, data, tree):
            if image not in tree:
                flaw = f"a list of split {split} names {image!r}: expected an image below the root"
                records[f"{split}: {image}"] = self.maker.make_flawed(f"{split}: {image}", flaw)
            elif splits.setdefault(image, split) != split:
                flaw = f"{image} is in the splits {splits[image]} and {split}: expected one"
                records[image] = self.maker.make_flawed(image, flaw)
            elif image not in records:
                records[image] = self._record(root, image, split=split, data=data, tree=tree)
        return list(records.values())

    def _record(
        self, root: Path, image: str, *, split: str, data: YoloData, tree: FileTree
    ) -> Record:
        label = label_path(image)
        if label not in tree:
            return self.maker.make(image, split=split, is_labelled=self.maker.counts_as_good)
        try:
            regions = read_labels(root / label, data.names, image=root / image)
        except (ValueError, OSError) as error:
            return self.maker.make(image, split=split, flaw=str(error))
        return self.maker.make(image, regions=regions, split=split)


def label_path(image: str) -> str:
    """The text file of an image: the last folder "images" in its path becomes "labels"."""
    stem = os.path.splitext(image)[0]
    before, joint, behind = f"/{stem}".rpartition("/images/")
    return f"{before}/labels/{behind}.txt".lstrip("/") if joint else f"{stem}.txt"


def _listed(root: Path, data: YoloData, tree: FileTree) -> Iterator[tuple[str, str]]:
    """The (split, image) pairs of all splits; a listed path that is no image as it stands."""
    if not data.places:
        yield from ((split_of_path(image), image) for image in tree.images)
    for split in SPLIT_KEYS:
        for place in data.places.get(split, ()):
            found = _place_below(root, place, data.base, tree)
            if found not in tree:
                prefix = f"{found}/" if found else ""
                yield from ((split, path) for path in tree.images if path.startswith(prefix))
            elif found.lower().endswith(".txt"):
                lines = [line.strip() for line in read_text(root / found).splitlines()]
                listed = [line for line in lines if line]
                yield from ((split, _listed_path(root, line, found, tree)) for line in listed)
            else:
                yield split, found


def _place_below(root: Path, place: str, base: str, tree: FileTree) -> str:
    """The folder or list below the root that an entry of data.yaml means.

    `path` names a folder of the machine where the set was made, and Roboflow writes "../train":
    both are tried as they stand and without what leads out. Raises ValueError for no such place.
    """
    entry = place.replace("\\", "/")
    if entry in (".", "./"):
        return ""
    loose = "" if entry.startswith("/") else entry.lstrip("./")
    for name in (f"{_below(root, base)}/{_below(root, entry)}", _below(root, entry), loose):
        path = name.strip("/")
        if path and (path in tree or tree.has_folder(path)):
            return path
    raise ValueError(
        f"{place!r} in data.yaml is no folder of images and no list below {root}: expected "
        "paths below it, such as images/train; correct the file"
    )


def _below(root: Path, path: str) -> str:
    """A path of data.yaml relative to the root, "" where it leads out."""
    if path.startswith("/"):
        whole = root.resolve().as_posix()
        return path.removeprefix(whole).strip("/") if f"{path}/".startswith(f"{whole}/") else ""
    try:
        return join_below("", path) if path else ""
    except ValueError:
        return ""


def _listed_path(root: Path, line: str, file: str, tree: FileTree) -> str:
    """The image that a line of a list means: seen from the list where it begins with "./"."""
    line = line.replace("\\", "/")
    try:
        seen = (join_below(folder, _below(root, line) or line) for folder in (folder_of(file), ""))
        return next((path for path in seen if path in tree), line)
    except ValueError:
        return line
