"""A folder of generated pictures, with what was asked for: from `experiments.generate`, or any."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from datamodules.decode import IMAGE_SUFFIXES, open_image
from datamodules.formats.image_header import read_header
from datamodules.sample import GOOD
from datamodules.vocabulary import GOOD_WORDS, Vocabulary, normalise_name
from experiments.judging.picture_sets import PictureSet, View

JOURNAL_NAME = "generated.jsonl"
OTHER_FOLDERS = {"masks"}


class GeneratedPictures(PictureSet):
    """The pictures of a folder that `experiments.generate` wrote, or of any other folder.

    prompts: what was asked for, else the name of the subfolder; a picture's type is the one that
    the journal names, else the longest class name in its prompt. Raises FileNotFoundError or
    ValueError, one line, for a folder without pictures or a broken journal.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        entries = list(journal_entries(folder)) or list(found_pictures(folder))
        if not entries:
            raise FileNotFoundError(
                f"--generated {folder} holds no picture: expected a folder that python -m "
                "experiments.generate wrote, or one of pictures"
            )
        self.folder = folder
        self.names = [name for name, _, _ in entries]
        self.prompts = [prompt for _, prompt, _ in entries]
        self.kinds = [
            type_in_words(defect.split(";")[0], vocabulary) or type_in_words(prompt, vocabulary)
            for _, prompt, defect in entries
        ]
        self.origins = list(range(len(entries)))

    def __getitem__(self, index: int) -> View:
        """The whole picture with the type that was asked for."""
        return View(open_image(self.folder / self.names[index]), self.kinds[index])

    def sizes_px(self) -> set[tuple[int, int]]:
        """The different (width, height) of the pictures, by their headers."""
        headers = [read_header(self.folder / name) for name in self.names]
        return {(header.width_px, header.height_px) for header in headers}


def journal_entries(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Picture, prompt and defect of each line of the folder's journal; nothing without one."""
    journal = folder / JOURNAL_NAME
    if not journal.is_file():
        return
    for number, line in enumerate(journal.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            yield (
                str(entry["image"]),
                str(entry.get("prompt") or ""),
                str(entry.get("defect") or ""),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{journal} line {number} is broken ({error}): expected an object with image and "
                "prompt; generate the pictures again, or remove the file to take them as they are"
            ) from error


def found_pictures(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Every picture below the folder, its subfolder as the prompt; masks are left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_picture = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        if is_picture and path.is_file() and not OTHER_FOLDERS & set(name.parts[:-1]):
            words = " ".join(name.parts[:-1])
            yield name.as_posix(), words, words


def type_in_words(text: str, vocabulary: Vocabulary) -> str:
    """The type whose longest name or synonym stands in the text, "" where none does."""
    words = normalise_name(text)
    named = dict.fromkeys(GOOD_WORDS, GOOD)
    named |= {word: entry[0] for entry in vocabulary.entries for word in entry}
    for word in sorted(named, key=len, reverse=True):
        if re.search(rf"\b{re.escape(word)}\b", words):
            return named[word]
    return ""
