"""The data sets by name: the class that reads one, its licence, citation and addresses.

The facts stand in `sources/about.yaml`; loading and unpacking is `download.py`.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import yaml

import datamodules.sources

FOLDER = Path(datamodules.sources.__path__[0])


@dataclass(frozen=True, slots=True)
class Download:
    """One official file: its address, the sha256 that proves it, its size in bytes (0 unknown)."""

    url: str
    sha256: str
    size_bytes: int = 0

    @property
    def file_name(self) -> str:
        """The last part of the address, which is the file's name on disk."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name


@dataclass(frozen=True, slots=True)
class About:
    """The facts of one data set; `licence` is a short SPDX-like string or says that none is stated.

    instructions: where to get what and where to place it, for sets that may not be fetched; sets
    with downloads are open to `experiments.fetch`.
    """

    title: str
    licence: str
    licence_url: str = ""
    citation: str = ""
    homepage: str = ""
    downloads: Sequence[Download] = ()
    instructions: str = ""


def about_of(name: str) -> About:
    """The facts of the source of that name; ValueError for a source that about.yaml lacks."""
    facts = _read_facts().get(name)
    if facts is None:
        raise ValueError(
            f"source {name} does not say where its data is to be had: expected an entry in "
            "datamodules/sources/about.yaml, or an About as its class attribute `about`"
        )
    return facts


@cache
def _read_facts() -> dict[str, About]:
    entries = yaml.safe_load((FOLDER / "about.yaml").read_text(encoding="utf-8"))
    return {
        name: About(**{**entry, "downloads": [Download(**x) for x in entry.get("downloads", ())]})
        for name, entry in entries.items()
    }


def source_names() -> list[str]:
    """The names of all sources, sorted: the file names of `datamodules/sources`."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


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
