"""The words that data sets use for their splits: train2017, valid, testing."""

import re

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_LETTERS = re.compile(r"[a-z]+")


def split_of_name(name: str) -> str:
    """The split that a file or folder is named after, "" for none.

    "instances_train2017" is train; "training_hall" is train too, "trainer" is not.
    """
    words = [SPLIT_WORDS.get(word, "") for word in _LETTERS.findall(name.lower())]
    return next((split for split in words if split), "")


def split_of_path(path: str) -> str:
    """The split of the first folder in a relative path that is called exactly by such a word."""
    folders = path.lower().split("/")[:-1]
    return next((SPLIT_WORDS[name] for name in folders if name in SPLIT_WORDS), "")
