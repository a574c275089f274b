"""What is wrong with a table of captions as a whole: copies, labels spelt in two ways, shifts.

What is wrong with a single caption is found in `caption_audit.py`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations
from typing import TypeVar

from datamodules.language.released_captions import ReleasedCaption

LIST_NUMBER = re.compile(r"\s*(\d{1,2})[.)]\s")
# Below this a changed letter makes another word ("hole", "pole"; "SDI", "SPDI").
SHORTEST_MISSPELT = 6

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=Hashable)


def duplicate_captions(captions: Sequence[str]) -> list[tuple[int, ...]]:
    """The groups of indices whose captions are the same up to case and white space."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, caption in enumerate(captions):
        groups[" ".join(caption.lower().split())].append(index)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_duplicate_labels(labels: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of labels that are one label in two spellings, in alphabetical order.

    Part by part between commas they are equal but for case, blanks and signs, or differ in one
    letter of six (two of twelve) and by no number: "broken spandex." and "broken spandex".
    """
    parts = {
        name: [re.sub(r"[\W_]+", "", part.lower()) for part in name.split(",")]
        for name in sorted(set(labels))
    }
    return [
        (first, second)
        for first, second in combinations(parts, 2)
        if len(parts[first]) == len(parts[second])
        and all(map(_are_one_label, parts[first], parts[second]))
    ]


def with_several(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, tuple[Value, ...]]:
    """The keys that come with more than one value: an id with two strings, a string with two ids.

    Values are in the order of their first appearance.
    """
    values: dict[Key, dict[Value, None]] = defaultdict(dict)
    for key, value in pairs:
        values[key][value] = None
    return {key: tuple(found) for key, found in values.items() if len(found) > 1}


def shifted_rows(rows: Sequence[ReleasedCaption]) -> list[tuple[ReleasedCaption, ...]]:
    """Runs of rows whose captions are the items 1, 2, 3 of one answer, across a change of label.

    One answer describes one image's class; where its lines were laid over images of two classes,
    those behind the change have a caption that was meant for another image.
    """
    runs: list[list[ReleasedCaption]] = []
    following = None
    for row in rows:
        item = LIST_NUMBER.match(row.caption)
        if item and (row.csv, row.row, int(item[1])) == following:
            runs[-1].append(row)
        else:
            runs.append([row])
        following = (row.csv, row.row + 1, int(item[1]) + 1) if item else None
    return [tuple(run) for run in runs if len({row.label for row in run}) > 1]


def _are_one_label(first: str, second: str) -> bool:
    if first == second:
        return True
    shorter = min(len(first), len(second))
    allowed = 0 if shorter < SHORTEST_MISSPELT else 1 if shorter < 12 else 2
    if abs(len(first) - len(second)) > allowed:
        return False
    # Counting letters is quick: most pairs end here, before letters are aligned.
    if (Counter(first) - Counter(second)).total() > allowed:
        return False
    same_numbers = re.findall(r"\d+", first) == re.findall(r"\d+", second)
    return same_numbers and _edit_distance(first, second) <= allowed


def _edit_distance(first: str, second: str) -> int:
    """Letters to put in, take out or change (Levenshtein 1966)."""
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != other))
    return row[-1]
