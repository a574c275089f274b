"""One picture asked in several lists of words, side by side."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.predictor import ImageLike, Predictor
from experiments.showing.picture_rows import picture_rows


def word_sheet(predictor: Predictor, pictures: Sequence[ImageLike], lists: Sequence[str]) -> Figure:
    """A row per picture, a column per list of labels, with the answer over each."""
    answers = [[predictor.predict(picture, labels) for labels in lists] for picture in pictures]
    return picture_rows(
        [[answer.draw() for answer in row] for row in answers],
        titles=[
            [
                f"asked: {labels}  answer: {answer.name} {answer.image_score:.2f}"
                for labels, answer in zip(lists, row, strict=True)
            ]
            for row in answers
        ],
    )
