"""Holds that thresholds are read from plain values, or refused."""

import pytest

from lightning_modules.nets.post_processing import (
    OperatingPoints,
    TypeThresholds,
    parse_operating_points,
)

TYPE = {"pixel_threshold": 0.4, "alarm_threshold": 0.7}
IMAGE = {"threshold": 0.5, "review_low": 0.3, "review_high": 0.6}
CONTENT = {"version": 2, "image": IMAGE, "default": TYPE, "types": {"crack": TYPE}}


def test_thresholds_are_read_and_figures_left_aside() -> None:
    content = {**CONTENT, "split": "val", "image": {**IMAGE, "ece": 0.1}}
    one = TypeThresholds(0.4, 0.7)
    assert parse_operating_points(content) == OperatingPoints(one, 0.5, 0.3, 0.6, {"crack": one})


def test_two_numbers_of_the_first_version_hold_for_all_types() -> None:
    points = parse_operating_points({"pixel_threshold": 0.25, "image_threshold": 0.75})
    assert points == OperatingPoints(TypeThresholds(0.25), 0.75)
    assert not points.needs_review(0.75)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "the file is list"),
        ({}, "got version None, expected 2"),
        ({**CONTENT, "version": 3}, "got version 3, expected 2"),
        ({**CONTENT, "types": None}, "types is NoneType"),
        ({**CONTENT, "default": {"pixel_threshold": 0.4}}, "alarm_threshold is None"),
        ({**CONTENT, "types": {"crack": {**TYPE, "pixel_threshold": True}}}, "is True"),
        ({**CONTENT, "types": {"crack": {**TYPE, "alarm_threshold": 7}}}, r"alarm threshold is 7"),
        ({**CONTENT, "image": {**IMAGE, "threshold": 0.9}}, "review band is 0.3 to 0.6"),
        (
            {**CONTENT, "image": {**IMAGE, "review_low": float("nan")}},
            "review_low threshold is nan",
        ),
    ],
)
def test_anything_else_is_refused_with_what_was_found(content: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_operating_points(content)
