"""The files below a folder, each of them named: what may be read, and what may not and why.

Linked folders are entered once, hidden ones never. Which endings are images depends on the decoder;
what an image is good for is told by its source.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import features

from datamodules.whole_files import write_rows

LOGGER = logging.getLogger(__name__)
# What Pillow may have been built without.
_CODEC_OF = {".webp": "webp", ".jp2": "jpg_2000", ".j2k": "jpg_2000", ".avif": "avif"}
_CODECS = {**features.modules, **features.codecs}
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
    *(".pgm", ".ppm", ".pbm", ".pnm"),
    *(end for end, codec in _CODEC_OF.items() if codec in _CODECS and features.check(codec)),
)
# Images too, though nothing here reads them; those of cameras mostly begin as TIFF does.
_UNREAD_SUFFIXES = (
    *(*_CODEC_OF, ".heic", ".heif", ".jxl", ".exr", ".hdr", ".tga", ".psd", ".dcm", ".svg", ".raw"),
    *(".cr3", ".raf", ".orf", ".rw2", ".pcx", ".ras", ".pfm", ".jxr"),
)
_FIRST_BYTES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
_HIDDEN_NAMES = re.compile(
    r"(^|/)(\.|((eh)?thumbs\.db|desktop\.ini|__macosx|@eadir)(/|$))", re.IGNORECASE
)
HIDDEN = "hidden, or left behind by a desktop"
DOCUMENT = "text, archive or document"
UNREADABLE = "unreadable"
MORE_PAGES = "pages or frames after the first of an image"
LINKED_TWIN = "the file of another name, through a link"


@dataclass(frozen=True, slots=True)
class Walk:
    """What lies below a folder, as paths relative to it.

    files: those that may be read, sorted; left_out: the others, each with the reason; own_places:
    of a file found through a linked folder, where it lies below the same top in its own folder.
    """

    files: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    own_places: dict[str, str] = field(default_factory=dict)


def walk(top: Path) -> Walk:
    """All files in and below a folder, none where it is missing.

    Raises ValueError for a linked folder that holds the link itself.
    """
    found, entered = Walk(), set[str]()
    real_top = os.path.realpath(top)
    # A folder, the real folders on the way to it, and whether a link is on that way.
    waiting: list[tuple[str, tuple[str, ...], bool]] = [("", (real_top,), False)]
    while waiting and top.is_dir():
        place, way, is_linked = waiting.pop()
        if is_linked and way[-1] in entered:
            found.left_out[place] = f"a folder to which two links lead: {way[-1]}"
            continue
        entered |= {way[-1]} if is_linked else set()
        try:
            entries = sorted(os.scandir(top / place), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            found.left_out[place or "."] = f"a folder that cannot be opened: {error.strerror}"
            continue
        for entry in entries:
            path, real = f"{place}/{entry.name}" if place else entry.name, f"{way[-1]}/{entry.name}"
            is_link, is_folder = entry.is_symlink(), os.path.isdir(entry)
            is_hidden = _HIDDEN_NAMES.search(path) is not None
            if is_hidden and (is_link or not is_folder):
                found.left_out[path] = HIDDEN
            elif not is_folder and not is_link and not entry.is_file():
                found.left_out[path] = "no file: a pipe, a socket or a device"
            elif not is_folder:
                found.files.append(path)
                if is_linked and real.startswith(f"{real_top}/"):
                    found.own_places[path] = os.path.relpath(real, real_top)
            else:
                real = _target(top / path, way) if is_link else real
                waiting.append((path, (*way, real), is_link or is_linked))
    found.files.sort()
    return found


def _target(link: Path, way: tuple[str, ...]) -> str:
    """Where a linked folder lies; ValueError where it leads back to a folder on the way to it."""
    target = os.path.realpath(link)
    if any(f"{real}/".startswith(f"{target}/") for real in way):
        raise ValueError(
            f"{link} is a link to {target}, which holds it: expected no loop; remove the link"
        )
    return target


def images_and_others(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """The images in and below a folder, each once and sorted; all other files with the reason."""
    found = walk(folder)
    left_out, known, images = dict(found.left_out), set(found.files), []
    for path in found.files:
        if not path.lower().endswith(IMAGE_SUFFIXES):
            left_out[path] = why_no_image(folder, path)
        elif found.own_places.get(path) in known:
            left_out[path] = f"{LINKED_TWIN}: {found.own_places[path]}"
        else:
            images.append(folder / path)
    return sorted(images), left_out


def image_paths(folder: Path) -> list[Path]:
    """The images of `images_and_others`; unreadable ones among the others are logged."""
    images, left_out = images_and_others(folder)
    for line in count_reasons({p: why for p, why in left_out.items() if is_lost_image(why)}):
        LOGGER.warning("left out of %s: %s", folder, line)
    return images


def why_no_image(folder: Path, path: str) -> str:
    """Why a file has none of the endings that are read."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _UNREAD_SUFFIXES:
        return f"no decoder for {suffix}"
    if not (folder / path).is_file():  # opening a pipe would wait for ever
        return "a file or link that cannot be opened: it leads to no file"
    try:
        with (folder / path).open("rb") as file:
            head = file.read(12)
    except OSError as error:
        return f"a file or link that cannot be opened: {error.strerror}"
    if head.startswith(_FIRST_BYTES) and (head[:4] != b"RIFF" or head[8:] == b"WEBP"):
        return f"no decoder for an image that ends in {suffix or 'nothing'}"
    return DOCUMENT


def is_lost_image(reason: str) -> bool:
    """Whether that reason keeps an image out that somebody could want."""
    return reason.startswith(("no decoder", "a file or link", "a folder that", UNREADABLE))


def count_reasons(left_out: Mapping[str, str]) -> list[str]:
    """A line per reason with how many files it keeps out and the first of them."""
    kinds = {path: left_out[path].partition(": ")[0] for path in sorted(left_out)}
    first = {kind: path for path, kind in reversed(kinds.items())}
    counts = Counter(kinds.values())
    return [f"{counts[kind]} x {kind}, the first is {printable(first[kind])}" for kind in counts]


def write_reasons(path: Path, left_out: Mapping[str, str]) -> Path:
    """The CSV at `path` that names the files, one a row, with their reasons."""
    rows = sorted((printable(name), printable(why)) for name, why in left_out.items())
    return write_rows(path, ("file", "reason"), rows)


def printable(text: str) -> str:
    """The text, its unprintable characters spelt out: it stays on one line."""
    return text if text.isprintable() else repr(text)[1:-1]
