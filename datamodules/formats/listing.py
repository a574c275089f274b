"""What lies in a folder, by one scan of it, and which paths of an annotation may be followed."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from datamodules.decode import IMAGE_SUFFIXES


def list_pictures(folder: Path) -> list[str]:
    """The names of the pictures in a folder, sorted; none where it is missing.

    Endings count in any case. Dot files are what desktops leave behind ("._a.png").
    """
    return [name for name in _names(folder, is_folder=False) if _is_picture(name)]


def list_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones; none if it is missing."""
    return _names(folder, is_folder=True)


def is_below_root(path: str) -> bool:
    """Whether a path that an annotation names stays in the data folder, on any system."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    is_absolute = PurePosixPath(path).is_absolute() or bool(PureWindowsPath(path).anchor)
    return bool(parts) and not is_absolute and ".." not in parts and "\0" not in path


def absent_layout(root: Path, *, title: str, expected: str) -> FileNotFoundError:
    """The one-line error for a root that is missing or holds something else."""
    what = "holds another layout" if root.is_dir() else "is missing"
    return FileNotFoundError(
        f"{title} root {root} {what}: expected {expected}; "
        "point the root at the unpacked original data"
    )


def _is_picture(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _names(folder: Path, *, is_folder: bool) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and entry.is_dir() == is_folder
        )
