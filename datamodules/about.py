"""The data sets by name: the class that reads one, its licence, citation and addresses.

Each source in `sources/` holds one About; loading and unpacking is `fetching/`.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import datamodules.sources

SCHEMES = ("http", "https")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Download:
    """One official file: its address, the sha256 that proves it, its size in bytes (0 unknown).

    extract_to: folder below the raw root where the archive is unpacked, "" for the root itself.
    Raises ValueError for a scheme other than http and https, and for what is no sha256.
    """

    url: str
    sha256: str
    size_bytes: int = 0
    extract_to: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ValueError(f"download url is {self.url!r}: expected an http or https address")
        if not SHA256.fullmatch(self.sha256):
            raise ValueError(
                f"sha256 of {self.url} is {self.sha256!r}: expected 64 lower-case hex digits"
            )
        if self.size_bytes < 0:
            raise ValueError(f"size_bytes of {self.url} is {self.size_bytes}: expected 0 or more")
        folder = PurePosixPath(self.extract_to)
        if folder.is_absolute() or ".." in folder.parts or "\\" in self.extract_to:
            raise ValueError(
                f"extract_to of {self.url} is {self.extract_to!r}: expected a folder below the root"
            )
        if self.file_name in ("", ".", "..") or re.search(r"[/\\\x00-\x1f:]", self.file_name):
            raise ValueError(f"download url is {self.url!r}: expected one that ends in a file name")

    @property
    def file_name(self) -> str:
        """The last part of the address, which is the file's name on disk."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class About:
    """The facts of one data set; `licence` is a short SPDX-like string or says that none is stated.

    instructions: where to get what and where to place it, for sets that may not be fetched.
    Raises ValueError without title, without licence, or with neither downloads nor instructions.
    """

    title: str
    licence: str
    licence_url: str
    citation: str
    homepage: str
    downloads: tuple[Download, ...] = ()
    instructions: str = ""

    def __post_init__(self) -> None:
        for name, text in (("title", self.title), ("licence", self.licence)):
            if not text.strip():
                raise ValueError(f"About has no {name}: expected text in it")
        if not self.downloads and not self.instructions.strip():
            raise ValueError(
                f"About of {self.title!r} has neither downloads nor instructions: expected one"
            )
        names = [item.file_name.lower() for item in self.downloads]
        if len(set(names)) < len(names):
            raise ValueError(f"About of {self.title!r} has two downloads of one file name")

    @property
    def is_open(self) -> bool:
        """Whether `experiments.fetch` may load it: there is an address with a hash."""
        return bool(self.downloads)


def source_names() -> list[str]:
    """The names of all sources, sorted: the file names of `datamodules/sources`."""
    folder = Path(datamodules.sources.__path__[0])
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def source_class_path(name: str) -> str:
    """The class path of a source's name: "neu_seg" -> "datamodules.sources.neu_seg.NeuSeg".

    A dotted name is a class path already. ValueError with the known names for any other.
    """
    if "." in name:
        return name
    known = source_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.55)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
        raise ValueError(
            f"--source: got {name!r}, expected a file name of datamodules/sources or a class path; "
            + remedy
        )
    camel_case = "".join(part.capitalize() for part in name.split("_"))
    return f"datamodules.sources.{name}.{camel_case}"
