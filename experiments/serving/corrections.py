"""What people accepted or corrected, on disk at once: a COCO set with the history of each image.

FOLDER/images/KEY.png            the image as it came; KEY: the first 16 digits of its SHA-256
FOLDER/annotations/KEY.json      COCO of this one image: `--source coco` trains on all of them,
                                 `--examples FOLDER` reads them
FOLDER/gallery/                  examples that people gave, as `--examples FOLDER/gallery` reads

Beside COCO's own keys KEY.json has `history`, a list that only grows:

    kind      "review", "second" (by another person, blind) or "consensus"
    reviewer  who;  at: when, in UTC;  caption: the six fields of the paper's template
    regions   what it says: name and counts (COCO's compressed run lengths) each; score and
              runners_up where the machine drew it, null and empty where a person did
    machine   what the machine had answered: name, image_score, needs_review, regions

`annotations` follow the newest review or consensus. While two people differ the file has none, so
that the image counts as unlabelled and nobody trains on it; `state` says so.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import cv2
from filelock import FileLock
from PIL import Image

from datamodules.captions import Caption
from datamodules.decode import open_image, quietly, read_header, sha256_of
from datamodules.file_walk import IMAGE_SUFFIXES
from datamodules.formats.text_files import read_json
from datamodules.sample import KEY_LETTERS
from datamodules.whole_files import write_whole
from experiments.cli import check_writable
from experiments.serving.regions import Answer, MarkedRegion, differ, names_of, type_of

IMAGES, ANNOTATIONS, GALLERY = "images", "annotations", "gallery"
DESCRIPTION = "regions that people accepted or corrected"
Kind = Literal["review", "second", "consensus"]
State = Literal["new", "reviewed", "agreed", "differs", "consensus"]
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "TIFF": ".tif"}


class ChangedMeanwhileError(ValueError):
    """Somebody else saved an image while it was open here."""


@dataclass(frozen=True, slots=True)
class Review:
    """What one person said of an image, and what the machine had said before; at: ISO, UTC."""

    kind: Kind
    reviewer: str
    at: str
    regions: tuple[MarkedRegion, ...]
    caption: Caption
    machine: Answer

    @property
    def overrode(self) -> bool:
        """Whether the person changed anything: a name, an outline, how many there are."""
        mine, its = (
            sorted((one.name, one.counts) for one in regions)
            for regions in (self.regions, self.machine.regions)
        )
        return mine != its


@dataclass(frozen=True, slots=True)
class Correction:
    """An image and all that people said of it; size_px: (height, width); name: as it came."""

    key: str
    file_name: str
    name: str
    size_px: tuple[int, int]
    history: tuple[Review, ...] = ()

    @property
    def version(self) -> int:
        """How often it was saved."""
        return len(self.history)

    def last(self, kind: Kind) -> Review | None:
        """The newest of a kind, None where there is none."""
        return next((one for one in reversed(self.history) if one.kind == kind), None)

    @property
    def pair(self) -> tuple[Review, Review] | None:
        """The newest second review and the review that it knew nothing of, None without."""
        kinds = [one.kind for one in self.history]
        if "second" not in kinds:
            return None
        place = len(kinds) - 1 - kinds[::-1].index("second")
        first = next(one for one in reversed(self.history[:place]) if one.kind == "review")
        return first, self.history[place]

    @property
    def state(self) -> State:
        """Where it stands between two people."""
        if self.pair is None:
            return "reviewed" if self.history else "new"
        first, second = self.pair
        if "consensus" in (one.kind for one in self.history[self.history.index(second) :]):
            return "consensus"
        return "differs" if differ(first.regions, second.regions, self.size_px) else "agreed"

    @property
    def settled(self) -> Review | None:
        """What counts: the newest review or consensus, None of a new one and while two differ."""
        if self.state in ("new", "differs"):
            return None
        return next(one for one in reversed(self.history) if one.kind != "second")


class Corrections:
    """The folder of the module's docstring; every file in it is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """ValueError for a folder with something else in it, OSError for one not to write to."""
        self.folder = folder
        check_writable(folder)
        others = [one for one in folder.iterdir() if one.name != GALLERY] if folder.is_dir() else []
        if others and not (folder / ANNOTATIONS).is_dir():
            raise ValueError(
                f"output {folder} holds no {ANNOTATIONS}: expected a new folder, or one that "
                "serve has written corrections to; choose another --out"
            )

    def read_all(self) -> list[Correction]:
        """Every image that somebody reviewed, in the order of their keys."""
        files = (self.folder / ANNOTATIONS).glob("*.json")
        return [found for file in sorted(files) if (found := self.read(file.stem))]

    def read(self, key: str) -> Correction | None:
        """One image's, None where nobody reviewed it; ValueError for a file that is not ours."""
        path = self._file(key)
        if not path.is_file():
            return None
        content: dict[str, Any] = read_json(path)
        try:
            (image,) = content["images"]
            size_px = image["height"], image["width"]
            history = tuple(_review_of(entry) for entry in content["history"])
            return Correction(key, image["file_name"], image["name"], size_px, history)
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not as serve writes it ({error!r}): remove it or put it elsewhere"
            ) from error

    def image_of(self, correction: Correction) -> Path:
        """Where its image lies."""
        return self.folder / IMAGES / correction.file_name

    def add(self, key: str, image: Path, name: str, review: Review, *, version: int) -> Correction:
        """Writes what somebody said of an image; the result is what now stands.

        image: its file; name: what it was called; version: the one that this person saw.
        ChangedMeanwhileError, a ValueError, where another was saved since; ValueError for a second
        review by the first's person or without a first; OSError where it can't be written: then
        what stood before still does.
        """
        before = None
        try:
            (self.folder / ANNOTATIONS).mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                before = self.read(key)
                self._check(before, review, version)
                before = before or self._copy(key, image, name)
                after = replace(before, history=(*before.history, review))
                write_whole(self._file(key), json.dumps(content_of(after), ensure_ascii=False))
        except OSError as error:
            if before and not before.history:
                self.image_of(before).unlink(missing_ok=True)
            raise OSError(
                f"not saved ({error.strerror or error}): what was saved before is untouched and "
                f"yours is still on the page; make room in {self.folder} and accept again"
            ) from error
        return after

    def _check(self, before: Correction | None, review: Review, version: int) -> None:
        last = before.history[-1] if before else None
        if last and before and before.version != version:
            raise ChangedMeanwhileError(
                f"{last.reviewer} saved this image at {last.at[11:16]} UTC while you had it open: "
                "nothing is overwritten and yours is still on the page; open it again to see theirs"
            )
        first = before.last("review") if before else None
        if review.kind == "second" and (first is None or first.reviewer == review.reviewer):
            raise ValueError(
                f"got a second review by {review.reviewer!r}, who made the first or none was made: "
                "expected another person's"
            )
        if review.kind == "consensus" and (before is None or before.pair is None):
            raise ValueError("got a consensus of less than two reviews: expected two people's")

    def _copy(self, key: str, image: Path, name: str) -> Correction:
        """Puts the image into the set, upright: what is drawn has the pixels that were seen."""
        pixels, is_upright = open_image(image), read_header(image).orientation == 1
        with quietly(), Image.open(image) as opened:
            suffix = SUFFIXES.get(opened.format or "", "")
        if suffix in IMAGE_SUFFIXES and is_upright:
            content = image.read_bytes()
        else:
            suffix = ".png"
            content = cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()
        correction = Correction(key, key + suffix, name, (pixels.shape[0], pixels.shape[1]))
        write_whole(self.image_of(correction), content)
        return correction

    def _file(self, key: str) -> Path:
        return self.folder / ANNOTATIONS / f"{key}.json"


def is_corrections(folder: Path) -> bool:
    """Whether serve has written corrections there."""
    first = next((folder / ANNOTATIONS).glob("*.json"), None)
    return first is not None and DESCRIPTION in first.read_text(encoding="utf-8", errors="replace")


def key_of(image: Path) -> str:
    """What an image is called in the set: its content, so that the same one is the same."""
    return sha256_of(image)[:KEY_LETTERS]


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def content_of(correction: Correction) -> dict[str, object]:
    """One image's COCO file."""
    settled = correction.settled
    regions = settled.regions if settled else ()
    names = sorted(names_of(regions))
    height, width = correction.size_px
    newest = correction.history[-1]
    image = {
        "id": 1,
        "file_name": correction.file_name,
        "width": width,
        "height": height,
        "license": 0,
        "name": correction.name,
        "state": correction.state,
        "answer": type_of(regions, correction.size_px) if settled else "",
        "reviewer": newest.reviewer,
        "at": newest.at,
        "caption_fields": asdict((settled or newest).caption),
    }
    content: dict[str, object] = {
        "info": {"description": DESCRIPTION, "version": str(correction.version)},
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
        "images": [image],
        "history": [asdict(review) for review in correction.history],
    }
    if settled:
        content["annotations"] = [
            _annotation(number, one, names, correction.size_px)
            for number, one in enumerate(regions, start=1)
        ]
    return content


def _annotation(
    number: int, region: MarkedRegion, names: Sequence[str], size_px: tuple[int, int]
) -> dict[str, object]:
    mask = region.mask(size_px)
    return {
        "id": number,
        "image_id": 1,
        "category_id": 1 + names.index(region.name),
        "segmentation": {"size": list(size_px), "counts": region.counts},
        "area": int(mask.sum()),
        "bbox": list(cv2.boundingRect(mask.astype("uint8"))),
        "iscrowd": 0,
    }


def _review_of(entry: dict[str, Any]) -> Review:
    machine = entry["machine"]
    regions = [_region_of(one) for one in machine["regions"]]
    answer = Answer(**(machine | {"regions": tuple(regions)}))
    mine = tuple(_region_of(one) for one in entry["regions"])
    caption = Caption(**entry["caption"])
    return Review(**(entry | {"regions": mine, "caption": caption, "machine": answer}))


def _region_of(entry: dict[str, Any]) -> MarkedRegion:
    others = tuple((str(name), float(share)) for name, share in entry.get("runners_up", ()))
    return MarkedRegion(entry["name"], entry["counts"], entry.get("score"), others)
