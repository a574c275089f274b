"""Which images a user means: an image, a folder, a glob, a COCO file or a CSV table of them."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datamodules.file_walk import (
    IMAGE_SUFFIXES,
    LINKED_TWIN,
    count_reasons,
    images_and_others,
    why_no_image,
)
from datamodules.formats.text_files import objects_of, read_json

LIST_SUFFIXES = (".json", ".csv")


@dataclass(frozen=True, slots=True)
class InputImage:
    """An image and what its results are called; "/" in the name are folders."""

    name: str
    path: Path

    @property
    def file_name(self) -> str:
        """The image's path with suffix, relative to where all given images lie."""
        return PurePosixPath(self.name).with_name(self.path.name).as_posix()


def find_images(pattern: str, root: str = "") -> tuple[list[InputImage], dict[str, str]]:
    """The images of a file, of a folder with its subfolders, of a glob, or of a list.

    A folder or glob gives files with an image's suffix that are not hidden, sorted by name, each
    once whatever links lead to it; a list (.json in COCO's format, or .csv) those it names, in its
    order. root: where a list's names start, "" for beside it. The second are the other files below
    the folder, or that the glob matches, with the reason. Raises FileNotFoundError where there are
    no images, ValueError for a list that is none.
    """
    if not pattern:  # as a folder it would be the one that the command runs in
        raise FileNotFoundError("--images is empty: expected an image, a folder, a glob or a list")
    left_out: dict[str, str] = {}
    path = Path(os.path.expanduser(pattern))
    is_list = path.is_file() and path.suffix.lower() in LIST_SUFFIXES
    if root and not is_list:
        raise ValueError(
            f"--root {root} comes with --images {pattern}: expected a .json or .csv that names "
            "images; leave --root out"
        )
    if is_list:
        top = Path(os.path.abspath(os.path.expanduser(root) if root else path.parent))
        images = list(dict.fromkeys(_listed_images(path, top)))
    elif path.is_file():
        return [InputImage(path.stem, path)], {}
    elif path.is_dir():
        top = path
        images, left_out = images_and_others(path)
    else:
        # A folder that is there is no pattern, whatever signs its name holds.
        below = next((one for one in path.parents if one.is_dir()), path.parent)
        images, left_out = _matched_images(
            str(Path(glob.escape(str(below)), path.relative_to(below)))
        )
    if not images:
        others = "; ".join(count_reasons(left_out))
        raise FileNotFoundError(
            f"--images {pattern} holds or matches no image{others and f' but {others}'}: expected "
            f"an image, a folder, a glob in quotes of files that end in {' '.join(IMAGE_SUFFIXES)},"
            " or a .json or .csv that names some"
        )
    # A name that leads out of a list's root must not lead the results out of --out.
    if not path.is_dir() and not (is_list and all(one.is_relative_to(top) for one in images)):
        top = Path(os.path.commonpath([image.parent for image in images]))
    return name_images(images, top), left_out


def _matched_images(pattern: str) -> tuple[list[Path], dict[str, str]]:
    """The images that a glob matches, each once; what else it matches with the reason."""
    images: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    # The shortest way to a file first: a glob follows links, and loops of them.
    for name in sorted(glob.glob(pattern, recursive=True), key=lambda name: (len(name), name)):
        path, real = Path(name), os.path.realpath(name)
        if path.is_dir():
            # Of "**" the files below it are matched as well.
            left_out |= {} if "**" in pattern else {name: "folder, which a glob does not enter"}
        elif not (path.is_file() and path.name.lower().endswith(IMAGE_SUFFIXES)):
            left_out[name] = why_no_image(Path(), name)
        elif images.setdefault(real, path) is not path:
            left_out[name] = f"{LINKED_TWIN}: {images[real]}"
    return sorted(images.values()), left_out


def name_images(images: Sequence[Path], top: Path) -> list[InputImage]:
    """The images named by their paths below `top`; suffixes stay where two would share a name."""
    relative = [image.relative_to(top) for image in images]
    short = [path.with_suffix("").as_posix() for path in relative]
    # "a.png.png" must not be called what the "a.png" beside "a.jpg" is.
    uses = Counter(name.lower() for name in (*short, *(path.as_posix() for path in relative)))
    return [
        InputImage(name if uses[name.lower()] == 1 else path.as_posix(), image)
        for name, path, image in zip(short, relative, images, strict=True)
    ]


def check_images_stay(images: Iterable[InputImage], out: Path) -> None:
    """ValueError when an image lies in the folder that would be replaced."""
    for image in images:
        if out in image.path.resolve().parents:
            raise ValueError(f"image {image.path} lies inside --out {out}: choose another --out")


def _listed_images(file: Path, top: Path) -> Iterator[Path]:
    """The images that a list names; ValueError or FileNotFoundError for a name of none."""
    if file.suffix.lower() == ".csv":
        from datamodules.formats.tables import read_rows  # imports torch

        remedy = "name it in the first line, and save as UTF-8 CSV"
        names: list[object] = [row["image"] for row in read_rows(file, ("image",), remedy=remedy)]
    else:
        content = read_json(file)
        if "images" not in content:
            found = ", ".join(list(content)[:6]) or "nothing"
            raise ValueError(f"{file} holds {found}: expected COCO's list of images")
        entries = objects_of(content["images"], f"images of {file}")
        names = [entry.get("file_name") for entry in entries]
    for number, name in enumerate(names, start=1):
        if not isinstance(name, str) or not name:
            raise ValueError(f"{file}: image number {number} has no file name: expected a path")
        image = Path(os.path.abspath(top / name))
        if not image.is_file():
            raise FileNotFoundError(
                f"{file} names {name!r}, and {image} is missing: expected its names to start at "
                f"{top}; say by --root where they start"
            )
        yield image
