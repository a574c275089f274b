"""How often a name was right: what a model found, beside what a person says the images show."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from datamodules.preparing.inspection import inspect
from datamodules.sample import GOOD, UNLABELLED, Record
from datamodules.sources.folder import Folder
from datamodules.vocabulary import Vocabulary
from experiments.inference.examples import open_manifest, regions_of
from experiments.inference.inputs import InputImage
from experiments.predictor import Result
from experiments.tables import Table
from lightning_modules.anomaly_module import DEFECT

COLUMNS = ("shown", "images", "answered right", "defects", "found", "named right", "else mostly")
NAMELESS = "-"


class Truth:
    """Counts answers and found defects by the name that is true of them.

    Right is any word that the truth's vocabulary has for the name. An image's is its first defect;
    a true defect is one piece of its mask, or a box, and is found where anything is marked on it:
    its name is that of what covers most of it.
    """

    def __init__(self, path: Path, images: Sequence[InputImage], vocabulary: Vocabulary) -> None:
        """path: a folder with images/NAME/ and perhaps masks/, or a manifest.

        vocabulary: what the images are asked for. FileNotFoundError or ValueError for a truth that
        is none, or that none of the images is in.
        """
        self.root, records, self.vocabulary = read_truth(path)
        wanted = {one.path.resolve() for one in images}
        places = {(self.root / record.image).resolve(): record for record in records}
        self.records = {place: record for place, record in places.items() if place in wanted}
        if not self.records:
            raise ValueError(
                f"--truth {path} tells of {len(places)} images, expected some of the {len(wanted)} "
                "of --images among them: give the truth of these"
            )
        if missing := len(wanted) - len(self.records):
            print(f"{missing} of {len(wanted)} images are not in --truth {path}", file=sys.stderr)
        self._look_at_files()
        self.true_names = dict(self._true_names(vocabulary))
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.wrong: dict[str, Counter[str]] = defaultdict(Counter)

    def _look_at_files(self) -> None:
        """Sees to it, as prepare does, that masks lie as the images are shown; else leaves one out.

        Before anything is predicted, which an error in between would lose.
        """
        for place, record in list(self.records.items()):
            if record.sha256:  # of a manifest
                continue
            look = inspect(record, self.root)
            self.records[place] = look.record
            if look.problem:
                print(f"--truth is not counted of {record.image}: {look.problem}", file=sys.stderr)
                del self.records[place]

    def _true_names(self, vocabulary: Vocabulary) -> Iterable[tuple[str, str]]:
        """Each name that is asked for, and what the truth calls it, "-" where it never does."""
        for entry in vocabulary.entries:
            known = [word for word in entry if word in self.vocabulary.words]
            ids = {self.vocabulary.id_of(word) for word in known}
            yield entry[0], self.vocabulary.names[min(ids)] if ids else NAMELESS

    def add(self, image: InputImage, result: Result) -> None:
        """Counts one result; nothing of an image without truth."""
        record = self.records.get(image.path.resolve())
        if record is None:
            return
        shown = self._name(record.defects[0]) if record.defects else GOOD
        is_right = self._is_right(result.name, shown)
        self.counts[shown] += Counter({"images": 1, "answered right": int(is_right)})
        if shown == GOOD and not is_right:
            self.wrong[GOOD][result.name] += 1
        for _, true_name, mask, _ in regions_of(record, self.root, self.vocabulary):
            self._add_defect(true_name, mask, result)

    def _add_defect(self, true_name: str, mask: np.ndarray, result: Result) -> None:
        """Counts a true defect, mask (H, W) bool."""
        shared = [int((one.mask & mask).sum()) for one in result.instances]
        counts = self.counts[true_name]
        counts["defects"] += 1
        if not any(shared):
            return
        counts["found"] += 1
        found = result.instances[int(np.argmax(shared))].name
        if self._is_right(found, true_name):
            counts["named right"] += 1
        else:
            self.wrong[true_name][found] += 1

    def _is_right(self, name: str, true_name: str) -> bool:
        """Whether a name that is asked for is the true one; "defect" is right for any defect."""
        true = self.true_names[name]
        return true == true_name or (name == DEFECT and true == NAMELESS and true_name != GOOD)

    def _name(self, word: str) -> str:
        """What the truth's vocabulary calls a name of its records."""
        return self.vocabulary.names[self.vocabulary.id_of(word)]

    def table(self) -> Table:
        """A row for each name that is shown, and one for all; shares with counts."""
        shown = [name for name in self.vocabulary.names if name in self.counts]
        asked = {true: name for name, true in self.true_names.items() if name != true != NAMELESS}
        rows = [
            row_of(f"{name} ({asked[name]})" if name in asked else name, counts, self.wrong[name])
            for name, counts in ((name, self.counts[name]) for name in shown)
        ]
        total = sum(self.counts.values(), Counter())
        rows.append(row_of("all", total, Counter()))
        return Table("How often each name is right", COLUMNS, tuple(rows))


def row_of(name: str, counts: Counter[str], wrong: Counter[str]) -> tuple[str, ...]:
    """One row of COLUMNS."""
    others = ", ".join(f"{one} {count}" for one, count in wrong.most_common(2))
    return (
        name,
        str(counts["images"]),
        share(counts["answered right"], counts["images"]),
        str(counts["defects"]),
        share(counts["found"], counts["defects"]),
        share(counts["named right"], counts["found"]),
        others or NAMELESS,
    )


def share(hits: int, of: int) -> str:
    """A share with its counts."""
    return f"{hits / of:.2f} ({hits}/{of})" if of else NAMELESS


def read_truth(path: Path) -> tuple[Path, list[Record], Vocabulary]:
    """The root of the labelled images, their records and names; ValueError for unusable ones."""
    try:
        manifest = open_manifest(path)
    except ValueError as error:
        remedy = "give a folder with images/NAME/, or a manifest.parquet"
        raise ValueError(f"--truth {path}: {error}: {remedy}") from error
    if manifest:
        all_records = [manifest[row] for row in range(len(manifest))]
        records = [record for record in all_records if record.split != UNLABELLED]
        if any(record.window_xywh_px for record in records):
            raise ValueError(f"--truth {path} is of tiles: expected a manifest of whole images")
        return manifest.root, records, manifest.vocabulary
    source = Folder()
    records = source.records(path)
    if flawed := next((record for record in records if record.flaw), None):
        raise ValueError(f"--truth {path}, {flawed.image}: {flawed.flaw}: correct or remove it")
    return path, records, source.vocabulary(records)
