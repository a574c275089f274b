"""Where images are answered, wait for people, and are corrected; the page only shows it.

One desk serves everybody on a server: all see the same images. What people say of them is kept by
`corrections.py`; how a page looks is `page.py`.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from threading import Lock

import numpy as np

from datamodules.captions import Caption
from datamodules.decode import open_image
from datamodules.sample import GOOD
from datamodules.vocabulary import Vocabulary, as_typed
from experiments.cli import error_line, is_user_error
from experiments.predictor import Predictor
from experiments.serving.corrections import (
    GALLERY,
    Correction,
    Corrections,
    Kind,
    Review,
    State,
    key_of,
    now,
)
from experiments.serving.regions import (
    Answer,
    MarkedRegion,
    answer_of,
    caption_of,
    drawn_region,
    names_of,
)

MOST_WORDS = 200
LONGEST_NAME = 80
CAPTION_FIELDS = tuple(one.name for one in fields(Caption))


@dataclass(frozen=True, slots=True)
class Entry:
    """An image on the desk: its file, what it was called, (height, width), the newest answer.

    seconds: from its arrival to the answer; state: of its correction.
    """

    key: str
    path: Path
    name: str
    size_px: tuple[int, int]
    machine: Answer
    seconds: float = 0.0
    state: State = "new"
    reviewers: tuple[str, ...] = ()

    @property
    def urgency(self) -> tuple[bool, float]:
        """What to sort by: images that need review first, then the closest calls."""
        return not self.machine.needs_review, abs(self.machine.image_score - 0.5)


@dataclass(frozen=True, slots=True)
class Draft:
    """An image as one person has it open; version: of what was saved when it was opened.

    other: the second person's regions, of a consensus; written: the fields of the caption that
    people filled in otherwise than the regions tell; told: all that regions have told so far.
    """

    entry: Entry
    kind: Kind
    version: int
    regions: tuple[MarkedRegion, ...]
    other: tuple[MarkedRegion, ...] = ()
    people: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    told: frozenset[tuple[str, str]] = frozenset()

    def renamed(self, place: int | None, name: str) -> "Draft":
        """With another name for a region; ValueError for one that is none."""
        return self._with(self._others(place, self.region(place).named(name)))

    def without(self, place: int | None) -> "Draft":
        """Without a region; ValueError where none is selected."""
        return self._with(self._others(place))

    def redrawn(self, place: int | None, mask: np.ndarray, name: str) -> "Draft":
        """With a region's new outline, or with one region more where no place is given.

        ValueError for a mask without a pixel and a name that is none.
        """
        region = drawn_region(mask, name)
        if place is None:
            return self._with((*self.regions, region))
        return self._with(self._others(place, region))

    def region(self, place: int | None) -> MarkedRegion:
        """The region at a place; ValueError where none is selected."""
        if place is None or not 0 <= place < len(self.regions):
            raise ValueError("no region is selected: choose one in the list")
        return self.regions[place]

    def taken(self) -> "Draft":
        """With the second person's regions in place of the first's, who are kept to go back to."""
        return replace(self._with(self.other), other=self.regions)

    def _others(self, place: int | None, *instead: MarkedRegion) -> tuple[MarkedRegion, ...]:
        """The regions with others in the place of one."""
        chosen = self.region(place)
        return tuple(new for one in self.regions for new in (instead if one is chosen else (one,)))

    def _with(self, regions: Sequence[MarkedRegion]) -> "Draft":
        return replace(self, regions=tuple(regions))


class Desk:
    """Answers images by a predictor and hands them to people, the most doubtful first.

    At the end of its `with` block what was uploaded and never accepted is removed.
    """

    def __init__(
        self, predictor: Predictor, corrections: Corrections, *, product: str, material: str
    ) -> None:
        """product, material: what captions call the part (section 5.1)."""
        self.corrections, self.product, self.material = corrections, product, material
        self._predictor, self._turn = predictor, Lock()
        self._trained = predictor.vocabulary
        self._place = TemporaryDirectory(prefix="diffuse_defect_")
        self.entries = {
            one.key: entry_of(one, corrections.image_of(one)) for one in corrections.read_all()
        }

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self._place.cleanup()

    @property
    def words(self) -> str:
        """The words of the training, as they are typed."""
        defects = [", ".join(map(as_typed, entry)) for entry in self._trained.entries[1:]]
        return "; ".join([*defects, *(f"not {word}" for word in self._trained.negatives)])

    @property
    def names(self) -> list[str]:
        """Every name that an answer or a person gave or may give, "good" first."""
        entries = list(self.entries.values())
        used = [name for one in entries for name in names_of(one.machine.regions)]
        return list(dict.fromkeys([*self._predictor.vocabulary.names, *used]))

    def answer(
        self, images: Sequence[tuple[str, Path]], words: str
    ) -> Iterator[tuple[str, Entry | str]]:
        """For each image, (its name, file): its name, and its entry or why it has none, a line.

        words: as `--labels`; those of the training, as they stand, ask for what it was trained on.
        Images that are there already are answered anew. ValueError for words that are none.
        """
        labels = self._read_words(words)
        files = [(clean_name(name), self._put(file)) for name, file in images]
        with self._turn:
            self._predictor.look_at(path for _, path in files)
        for name, path in files:
            try:
                yield name, self._answer(name, path, labels)
            except Exception as error:
                if not is_user_error(error):
                    raise
                yield name, error_line(error).replace(str(path), name)

    def _answer(self, name: str, path: Path, labels: str | None) -> Entry:
        started = time.perf_counter()
        with self._turn:
            result = self._predictor.predict(path, labels)
        seconds = time.perf_counter() - started
        size_px = (result.image.shape[0], result.image.shape[1])
        entry = Entry(path.name, path, name, size_px, answer_of(result), seconds)
        if known := self.entries.get(entry.key):
            entry = replace(known, machine=entry.machine, seconds=seconds)
        self.entries[entry.key] = entry
        return entry

    def _read_words(self, words: str) -> str | None:
        if words.strip() == self.words:
            return None
        vocabulary = Vocabulary.parse(words)
        if len(vocabulary.words) > MOST_WORDS:
            raise ValueError(
                f"got {len(vocabulary.words)} words, expected at most {MOST_WORDS}: everybody "
                "waits while they are read; ask for fewer at once"
            )
        is_trained = (vocabulary.entries[1:], vocabulary.negatives) == (
            self._trained.entries[1:],
            self._trained.negatives,
        )
        return None if is_trained else words

    def _put(self, file: Path) -> Path:
        """A copy that is called by its content, not by what a client says."""
        place = Path(self._place.name) / key_of(file)
        return file if file == place else Path(shutil.copyfile(file, place))

    def queue(self, shown: str, reviewer: str) -> list[Entry]:
        """The entries of one list of LISTS, what needs a person first.

        A second review is offered to whoever did not make the first.
        """
        states, is_first_done = LISTS[shown]
        found = [
            one
            for one in list(self.entries.values())  # others add to it meanwhile
            if one.state in states and not (is_first_done and reviewer in one.reviewers)
        ]
        return sorted(found, key=lambda one: one.urgency)

    def open(self, key: str, shown: str) -> Draft:
        """What a person sees of an image: in a second review only what the machine said.

        shown: the list that it was opened from; ValueError for an image that is gone.
        """
        entry = self.entries.get(key)
        if entry is None:
            raise ValueError("this image is no longer on the desk: drop it again")
        before = self.corrections.read(key)
        version = before.version if before else 0
        if shown == SECOND:
            first = before.last("review") if before else None
            machine = first.machine if first else entry.machine
            return Draft(replace(entry, machine=machine), "second", version, machine.regions)
        if before and before.pair and before.state == "differs":
            first, second = before.pair
            people = (first.reviewer, second.reviewer)
            both = Draft(entry, "consensus", version, first.regions, second.regions, people)
            return self.captioned(both, first.caption)
        settled = before.settled if before else None
        if settled is None:
            return Draft(entry, "review", version, entry.machine.regions)
        kind: Kind = "consensus" if before and before.state == "consensus" else "review"
        draft = Draft(entry, kind, version, settled.regions, (), (settled.reviewer,))
        return self.captioned(draft, settled.caption)

    def after(self, key: str | None, shown: str, reviewer: str) -> str | None:
        """The image that follows in a list, its first where this one isn't in it, None of none."""
        keys = [one.key for one in self.queue(shown, reviewer)]
        if key in keys:
            keys = keys[keys.index(key) + 1 :] + keys[: keys.index(key)]
        return keys[0] if keys else None

    def save(self, draft: Draft, reviewer: str) -> Correction:
        """Keeps what a person says of an image, on disk at once.

        ValueError without a name of the person, for a caption that does not fit the template, and
        as `Corrections.add` says; OSError where it can't be written.
        """
        reviewer = " ".join(reviewer.split())
        if not reviewer:
            raise ValueError("nobody says who reviews: write your name on top of the page first")
        entry, caption = draft.entry, self.caption(draft)
        check_caption(caption)
        review = Review(draft.kind, reviewer, now(), draft.regions, caption, entry.machine)
        saved = self.corrections.add(
            entry.key, entry.path, entry.name, review, version=draft.version
        )
        newest = self.entries[entry.key]
        self.entries[entry.key] = entry_of(
            saved, self.corrections.image_of(saved), newest.machine, newest.seconds
        )
        return saved

    def caption(self, draft: Draft) -> Caption:
        """The six fields as mask and name tell them, but for those that people wrote."""
        return replace(self._told(draft), **draft.written)

    def captioned(self, draft: Draft, caption: Caption) -> Draft:
        """With what a caption says otherwise than the regions, which it does after changes too.

        It may come from before the last change: what regions told then nobody has written.
        """
        told = draft.told.union(asdict(self._told(draft)).items())
        said = {name: " ".join(text.split()) for name, text in asdict(caption).items()}
        return replace(draft, written=dict(said.items() - told), told=told)

    def _told(self, draft: Draft) -> Caption:
        return caption_of(
            draft.regions, draft.entry.size_px, product=self.product, material=self.material
        )

    def add_example(self, draft: Draft, mask: np.ndarray, name: str) -> int:
        """Regions are named by this one too from now on; how many examples the name has.

        The gallery is saved at once. ValueError for an empty mask or a name that is none.
        """
        region = drawn_region(mask, name)
        with self._turn:
            self._predictor.add_example(draft.entry.path, mask, region.name)
            gallery = self._predictor.gallery
            assert gallery is not None
            gallery.save(self.corrections.folder / GALLERY)
        return len(gallery.vectors[region.name])


SECOND, DIFFERING, DONE = "second review", "to agree on", "done"
# What each list holds, and whether it leaves out what oneself has reviewed.
LISTS: dict[str, tuple[tuple[State, ...], bool]] = {
    "to review": (("new",), False),
    SECOND: (("reviewed",), True),
    DIFFERING: (("differs",), False),
    DONE: (("reviewed", "agreed", "consensus"), False),
}


def entry_of(
    correction: Correction, image: Path, machine: Answer | None = None, seconds: float = 0.0
) -> Entry:
    """The entry of an image that somebody reviewed; machine: its newest answer, if any."""
    people = tuple(dict.fromkeys(one.reviewer for one in correction.history))
    return Entry(
        correction.key,
        image,
        correction.name,
        correction.size_px,
        machine or correction.history[-1].machine,
        seconds,
        correction.state,
        people,
    )


def clean_name(name: str) -> str:
    """What an upload is called on the page: the end of its path, short and printable."""
    last = PurePath(name.replace("\\", "/")).name
    return "".join(sign for sign in last if sign.isprintable())[-LONGEST_NAME:] or "image"


def opened(draft: Draft | None) -> Draft:
    """The draft; ValueError where none is open."""
    if draft is None:
        raise ValueError("no image is open: choose one in the list")
    return draft


def check_caption(caption: Caption) -> None:
    """ValueError where the fields could not be told apart in the caption's sentence."""
    text = caption.render()
    read = Caption.parse(text)
    if read.render() != text or any(
        getattr(read, field).casefold() != getattr(caption, field).casefold()
        for field in CAPTION_FIELDS
    ):
        raise ValueError(
            f"caption {text!r} can't be read back into its six fields: expected a product, and no "
            "' with ', ' located at ' or other joint of the template inside a field"
        )


def pixels_of(draft: Draft) -> np.ndarray:
    """The image as a viewer shows it, (H, W, 3) uint8."""
    return open_image(draft.entry.path)


def known_names(desk: Desk, draft: Draft) -> list[str]:
    """By class id: the desk's names, then those of the draft alone; the first is "good"."""
    own = names_of((*draft.regions, *draft.other))
    return list(dict.fromkeys([GOOD, *desk.names, *own]))
