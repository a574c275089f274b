"""One scan of a data folder, and the paths that annotations write looked up in it.

Nothing is opened. Folders that are links are not entered, so that whatever is found lies below
the root; single files that are links are refused by `inspection.py`.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.decode import IMAGE_SUFFIXES


@dataclass(frozen=True)
class FileTree:
    """The files below a root as sorted paths relative to it: pictures, and asked-for documents."""

    pictures: tuple[str, ...]
    documents: tuple[str, ...]
    _known: frozenset[str] = field(init=False, repr=False)
    _by_name: dict[str, list[str]] = field(init=False, repr=False)
    _folders: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_name: dict[str, list[str]] = defaultdict(list)
        for path in self.pictures:
            by_name[path.rpartition("/")[2]].append(path)
        object.__setattr__(self, "_known", frozenset(self.pictures + self.documents))
        object.__setattr__(self, "_by_name", by_name)
        folders = {""}
        for folder in {folder_of(path) for path in self.pictures}:
            while folder not in folders:
                folders.add(folder)
                folder = folder_of(folder)
        object.__setattr__(self, "_folders", frozenset(folders))

    def __contains__(self, path: str) -> bool:
        """Whether a picture or document lies there."""
        return path in self._known

    def has_folder(self, path: str) -> bool:
        """Whether pictures lie in or below that folder; "" is the root."""
        return path in self._folders

    def find_picture(self, name: str, folders: Sequence[str]) -> str:
        """The picture that an annotation calls `name`: in the first folder that has it.

        Else the one picture whose path ends in `name`. Raises ValueError for a path that leads
        out of the root, for no picture and for several.
        """
        spellings = dict.fromkeys((name, name.replace("\\", "/")))
        for spelling in spellings:
            for path in (join_below(folder, spelling) for folder in folders):
                if path in self._known:
                    return path
        tail = join_below("", name.replace("\\", "/").lstrip("./"))
        ends = [
            path
            for path in self._by_name.get(tail.rpartition("/")[2], [])
            if f"/{path}".endswith(f"/{tail}")
        ]
        if len(ends) == 1:
            return ends[0]
        shown = ", ".join(folder or "the root" for folder in dict.fromkeys(folders))
        if ends:
            raise ValueError(
                f"picture {name!r} may be {ends[0]} or {ends[1]}, expected one such path: "
                "write the folder into the annotation"
            )
        raise ValueError(f"picture {name!r} is missing: expected it in {shown}; add or drop it")


def scan_tree(root: Path, *, documents: Iterable[str] = (), remedy: str) -> FileTree:
    """The pictures below `root` and the files with one of the suffixes `documents`.

    Dot files and dot folders are left out. Raises FileNotFoundError, with the `remedy` that says
    what was expected, for a missing root or one without pictures.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data root {root} is missing: {remedy}")
    wanted = tuple(documents)
    pictures: list[str] = []
    texts: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                continue
            if suffix in IMAGE_SUFFIXES:
                pictures.append(prefix + name)
            elif suffix in wanted:
                texts.append(prefix + name)
    if not pictures:
        raise FileNotFoundError(f"{root} holds no pictures ({', '.join(IMAGE_SUFFIXES)}): {remedy}")
    return FileTree(tuple(sorted(pictures)), tuple(sorted(texts)))


def join_below(folder: str, name: str) -> str:
    """`name` seen from `folder`, as a path relative to the root without "." and "..".

    Raises ValueError for an empty or absolute name and for one that leads out of the root.
    """
    if not name or name.startswith(("/", "\\")) or name[1:2] == ":":
        raise ValueError(f"path {name!r} is no relative path: expected one below the data root")
    parts: list[str] = []
    for part in f"{folder}/{name}".split("/"):
        if part == ".." and not parts:
            raise ValueError(
                f"path {name!r} leads out of the data root: expected one below it; move the "
                "picture or correct the path"
            )
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def folder_of(path: str) -> str:
    """The folder of a relative path, "" for the root."""
    return path.rpartition("/")[0]
