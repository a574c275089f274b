"""Which images a user means: an image, a folder, a glob, a COCO file or a CSV table of them."""

import csv
import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datamodules.decode import IMAGE_SUFFIXES, image_paths
from datamodules.formats.text_files import objects_of, read_json

TABLE_COLUMNS = ("image", "path")


@dataclass(frozen=True, slots=True)
class InputImage:
    """An image and what its results are called; "/" in the name are folders."""

    name: str
    path: Path

    @property
    def file_name(self) -> str:
        """The image's path with suffix, relative to where all given images lie."""
        return PurePosixPath(self.name).with_name(self.path.name).as_posix()


def find_images(pattern: str, root: str = "") -> list[InputImage]:
    """The images of a file, of a folder with its subfolders, of a glob, or of a list.

    A folder or glob gives files with an image's suffix that are not hidden, sorted by name; a list
    (.json in COCO's format, or .csv) those it names, in its order. root: where a list's names
    start, "" for beside it. Raises FileNotFoundError where there are none, ValueError for a list
    that is none.
    """
    path = Path(pattern).expanduser()
    if path.is_file() and path.suffix.lower() in (".json", ".csv"):
        return _listed_images(path, Path(root).expanduser() if root else path.parent)
    if root:
        raise ValueError(
            f"--root {root} comes with --images {pattern}: expected a .json or .csv that names "
            "images; leave --root out"
        )
    if path.is_file():
        return [InputImage(path.stem, path)]
    is_folder = path.is_dir()
    images = image_paths(path)
    if not is_folder:
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        images = [one for one in found if one.suffix.lower() in IMAGE_SUFFIXES and one.is_file()]
    if not images:
        kind = "holds no image" if is_folder else "matches no image"
        raise FileNotFoundError(
            f"--images {pattern} {kind}: expected an image, a folder, a glob in quotes of files "
            f"that end in {' '.join(IMAGE_SUFFIXES)}, or a .json or .csv that names some"
        )
    top = path if is_folder else Path(os.path.commonpath([image.parent for image in images]))
    return name_images(images, top)


def name_images(images: Sequence[Path], top: Path) -> list[InputImage]:
    """The images named by their paths below `top`; suffixes stay where two would share a name."""
    relative = [image.relative_to(top) for image in images]
    short = [path.with_suffix("").as_posix() for path in relative]
    uses = Counter(name.lower() for name in short)
    return [
        InputImage(name if uses[name.lower()] == 1 else path.as_posix(), image)
        for name, path, image in zip(short, relative, images, strict=True)
    ]


def check_images_stay(images: Iterable[InputImage], out: Path) -> None:
    """ValueError when an image lies in the folder that would be replaced."""
    for image in images:
        if out in image.path.resolve().parents:
            raise ValueError(f"image {image.path} lies inside --out {out}: choose another --out")


def _listed_images(file: Path, root: Path) -> list[InputImage]:
    """The images that a list names, each once, named by their paths below `root`."""
    top = Path(os.path.abspath(root))
    images: dict[Path, None] = {}
    for place, name in _listed_names(file):
        if not isinstance(name, str) or not name:
            raise ValueError(f"{file} {place} has no file name: expected a path")
        image = Path(os.path.abspath(top / name))
        if not image.is_file():
            raise FileNotFoundError(
                f"{file} names {name!r}, and {image} is missing: expected its names to start at "
                f"{root}; say by --root where they start"
            )
        images[image] = None
    if not images:
        raise FileNotFoundError(f"--images {file} names no image: expected at least one")
    # A name that leads out of the root must not lead the results out of --out.
    if not all(image.is_relative_to(top) for image in images):
        top = Path(os.path.commonpath([image.parent for image in images]))
    return name_images(list(images), top)


def _listed_names(file: Path) -> Iterator[tuple[str, object]]:
    """The place and the path of each image in a COCO file or in a table."""
    if file.suffix.lower() == ".json":
        content = read_json(file)
        if "images" not in content:
            found = ", ".join(list(content)[:6]) or "nothing"
            raise ValueError(f"{file} holds {found}: expected COCO's list of images")
        for number, image in enumerate(objects_of(content["images"], f"images of {file}"), start=1):
            yield f"image number {number}", image.get("file_name")
        return
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            columns = reader.fieldnames or ()
            column = next((name for name in TABLE_COLUMNS if name in columns), None)
            if column is None:
                raise ValueError(
                    f"{file} has the columns {','.join(columns)[:80]!r}: expected one called "
                    f"{' or '.join(TABLE_COLUMNS)}; name it in the first line"
                )
            for row in reader:
                yield f"line {reader.line_num}", (row[column] or "").strip()
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is no readable CSV ({error}): save it as UTF-8 CSV") from error
