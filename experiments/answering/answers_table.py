"""Answers as one CSV, a row per image; the file is itself a list that `--images` takes."""

import csv
from collections import Counter
from pathlib import Path

from experiments.answering.answer import Answer
from experiments.answering.inputs import AskedImage

COLUMNS = ("image", "answer", "image_score", "needs_review", "defects", "best_defect_score")


class AnswersTable:
    """Writes rows of COLUMNS as they come; defects are parted by ";", each with its count."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)

    def add(self, image: AskedImage, answer: Answer) -> None:
        """Writes one row."""
        counts = Counter(one.name for one in answer.instances)
        best = max((one.score for one in answer.instances), default=None)
        self._writer.writerow(
            (
                image.file_name,
                answer.name,
                f"{answer.image_score:.4f}",
                int(answer.needs_review),
                "; ".join(f"{count} {name}" for name, count in counts.most_common()),
                "" if best is None else f"{best:.4f}",
            )
        )

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
