"""Whole tables: copies, labels in two spellings, ids with two strings, shifted rows."""

import pytest

from datamodules.auditing.label_audit import (
    duplicate_captions,
    near_duplicate_labels,
    shifted_rows,
    with_several,
)
from datamodules.language.released_captions import ReleasedCaption, read_release


def row_of(number: int, label: int, caption: str, csv: str = "a.csv") -> ReleasedCaption:
    return ReleasedCaption(
        "d", f"{number}.jpg", label, "p", ("x",), caption, "utf-8", csv, number, "p,x", "", False
    )


def test_copies_are_found_up_to_case_and_white_space():
    assert duplicate_captions(["A crack.", "A stain.", " a  crack.\n", "A hole."]) == [(0, 2)]


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("lithographic layout,hotspot", "lithography layout, hotspot", True),
        ("steel,pin hole", "steel,pin-hole", True),
        ("aluminum,Scratch", "aluminum,scratch", True),
        ("candle,foreign particals", "candle,foreign particles", True),
        ("steel strip,SDI", "steel strip,SPDI", False),
        ("fabric,hole", "fabric,pole", False),
        ("fabric,loose warp", "fabric,loose weft", False),
        ("part,class number 1", "part,class number 2", False),
        ("cap", "cap,cap", False),
        ("bottle,broken large", "bottle,broken small", False),
    ],
)
def test_labels_are_one_by_spelling_and_two_by_another_word(first, second, is_one):
    assert near_duplicate_labels([first, "steel,dent", second]) == [(first, second)] * is_one


def test_a_numbered_answer_that_runs_over_a_change_of_label_is_shifted():
    rows = [row_of(1, 5, "1. One."), row_of(2, 5, "2. Two."), row_of(3, 6, "3. Three.")]
    assert shifted_rows(rows) == [tuple(rows)]
    rows = [row_of(1, 5, "1. One."), row_of(2, 5, "2. Two."), row_of(3, 6, "1. One.")]
    rows += [row_of(4, 7, "2. Two.", csv="b.csv"), row_of(9, 8, "3. Three.", csv="b.csv")]
    assert shifted_rows(rows) == []


def test_known_faults_of_the_release_are_found_and_no_others(shared_data):
    release = read_release(shared_data / "imdd1m_release")
    assert near_duplicate_labels(row.category for row in release) == [
        ("fabric,broken spandex", "fabric,broken spandex."),
        ("lithographic layout,hotspot", "lithography layout, hotspot"),
    ]
    assert set(with_several((row.label, row.category) for row in release)) == {397, 562}
    strings = with_several((row.category, row.label) for row in release)
    assert strings == {"silicon steel strip,SPDI": (397, 398)}
    ((_, *shifted),) = shifted_rows(release)
    names = [row.image_name for row in shifted]
    assert names == ["bottle_broken_small_021.png", "bottle_contamination_000.png"]
    captions = [row.caption for row in release if row.domain == "iccad"]
    assert duplicate_captions(captions)[0] == (0, 1, 2, 5)
