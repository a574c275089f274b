"""Files of a data set found by name: listings, the paths that annotations write, words for splits.

No image is opened. What is said of an image becomes its Record in `records.py`.
"""

import glob
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datamodules.file_walk import IMAGE_SUFFIXES, count_reasons, images_and_others, walk

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def glob_images(root: Path, pattern: str) -> list[str]:
    """The images below the root that a pattern means, as relative paths, sorted part by part.

    Letters count in any case. Dot files are what desktops leave behind ("._a.png").
    """
    found = glob.iglob(any_case(pattern), root_dir=root)
    images = [path for path in found if path.lower().endswith(IMAGE_SUFFIXES)]
    return sorted((path for path in images if not (root / path).is_dir()), key=_parts)


def glob_folders(root: Path, pattern: str) -> list[str]:
    """The folders below the root that a pattern means, as relative paths, sorted part by part."""
    return sorted(
        (p for p in glob.iglob(pattern, root_dir=root) if (root / p).is_dir()), key=_parts
    )


def _parts(path: str) -> list[str]:
    return path.split("/")


def any_case(pattern: str) -> str:
    """The glob pattern, its letters in upper and lower case."""
    return re.sub(
        r"\[.*?\]|[a-z]",
        lambda found: found[0] if found[0][1:] else f"[{found[0].lower()}{found[0].upper()}]",
        pattern,
        flags=re.IGNORECASE,
    )


def fold(path: str) -> str:
    """The path as names are compared: in any Unicode form, in upper and lower case."""
    return unicodedata.normalize("NFC", path).casefold()


def absent_layout(root: Path, title: str, expected: str) -> FileNotFoundError:
    """The one-line error for a root that is missing or holds something else."""
    what = "holds another layout" if root.is_dir() else "is missing"
    return FileNotFoundError(
        f"{title} root {root} {what}: expected {expected}; "
        "point the root at the unpacked original data"
    )


class FileTree:
    """The files below a root as sorted paths relative to it: images, and asked-for documents.

    They are found in any Unicode form of their names, and in upper and lower case where that leaves
    one. own_places: as `file_walk.Walk` has them.
    """

    def __init__(self, paths: Iterable[str], own_places: Mapping[str, str] | None = None) -> None:
        self._known = frozenset(paths)
        in_order = sorted(self._known)
        self.images = tuple(p for p in in_order if p.lower().endswith(IMAGE_SUFFIXES))
        self.documents = tuple(p for p in in_order if not p.lower().endswith(IMAGE_SUFFIXES))
        self._folded: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in in_order:
            self._folded[fold(path)].append(path)
        for path in self.images:
            if (own_places or {}).get(path) not in self._known:
                self._by_name[fold(path.rpartition("/")[2])].append(path)

    def find(self, path: str) -> str:
        """The path of the file as the disk spells it, "" for none and for several."""
        alike = self._folded.get(fold(path), [])
        return path if path in self._known else alike[0] if len(alike) == 1 else ""

    def images_below(self, folder: str) -> list[str]:
        """The images in or below a folder; "" is the root."""
        prefix = f"{fold(folder)}/" if folder else ""
        return [path for path in self.images if fold(path).startswith(prefix)]

    def find_ends(self, name: str) -> list[str]:
        """The images whose path ends in `name`; ValueError for one that leads out of the root."""
        tail = fold(join_below("", name.replace("\\", "/").lstrip("./")))
        same_name = self._by_name.get(tail.rpartition("/")[2], [])
        return [path for path in same_name if f"/{fold(path)}".endswith(f"/{tail}")]

    def find_image(self, name: str, folders: Sequence[str]) -> str:
        """The image that an annotation calls `name`: in the first folder that has it.

        Else the one image whose path ends in `name`. Raises ValueError for a path that leads
        out of the root, for no image and for several.
        """
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            for path in (join_below(folder, spelling) for folder in folders):
                if found := self.find(path):
                    return found
        ends = self.find_ends(name)
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise ValueError(
                f"image {name!r} may be {ends[0]} or {ends[1]}, expected one such path: "
                "write the folder into the annotation"
            )
        shown = ", ".join(folder or "the root" for folder in dict.fromkeys(folders))
        raise ValueError(f"image {name!r} is missing: expected it in {shown}; add or drop it")


def scan_tree(root: Path, *, documents: tuple[str, ...] = (), remedy: str) -> FileTree:
    """The images below `root` and the files with one of the endings `documents`.

    Which files there are is told by `file_walk.walk`; single files that are links are refused by
    `inspection.py`. Raises FileNotFoundError, with the `remedy` that says what was expected, for a
    missing root or one without images.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data root {root} is missing: {remedy}")
    found = walk(root)
    kept = [path for path in found.files if path.lower().endswith(IMAGE_SUFFIXES + documents)]
    tree = FileTree(kept, found.own_places)
    if not tree.images:
        others = "; ".join(count_reasons(images_and_others(root)[1])) or "nothing"
        raise FileNotFoundError(
            f"{root} holds no images ({', '.join(IMAGE_SUFFIXES)}) but {others}: {remedy}"
        )
    return tree


def join_below(folder: str, name: str) -> str:
    """`name` seen from `folder`, as a path relative to the root without "." and "..".

    Raises ValueError for an empty or absolute name and for one that leads out of the root.
    """
    if not name or name.startswith(("/", "\\")) or name[1:2] == ":":
        raise ValueError(f"path {name!r} is no relative path: expected one below the data root")
    path = os.path.normpath(f"{folder}/{name}".lstrip("/"))
    if path.split("/")[0] == "..":
        raise ValueError(
            f"path {name!r} leads out of the data root: expected one below it; move the "
            "image or correct the path"
        )
    return "" if path == "." else path


def folder_of(path: str) -> str:
    """The folder of a relative path, "" for the root."""
    return path.rpartition("/")[0]


def split_of_name(name: str) -> str:
    """The split that a file or folder is named after, "" for none.

    "instances_train2017" is train; "training_hall" is train too, "trainer" is not.
    """
    words = [SPLIT_WORDS.get(word, "") for word in re.findall("[a-z]+", name.lower())]
    return next((split for split in words if split), "")


def split_of_path(path: str) -> str:
    """The split of the first folder in a relative path that is called exactly by such a word."""
    folders = path.lower().split("/")[:-1]
    return next((SPLIT_WORDS[name] for name in folders if name in SPLIT_WORDS), "")
