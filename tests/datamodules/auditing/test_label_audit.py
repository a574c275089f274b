"""Whole tables: copies, labels in two spellings, ids with two strings, shifted rows."""

from pathlib import Path

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


@pytest.fixture(scope="module")
def release(shared_data: Path) -> list[ReleasedCaption]:
    return read_release(shared_data / "imdd1m_release")


def test_copies_are_found_up_to_case_and_white_space():
    captions = ["A crack.", "A stain.", " a  crack.\n", "A hole."]
    assert duplicate_captions(captions) == [(0, 2)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("fabric,broken spandex", "fabric,broken spandex."),
        ("lithographic layout,hotspot", "lithography layout, hotspot"),
        ("steel,pin hole", "steel,pin-hole"),
        ("aluminum,Scratch", "aluminum,scratch"),
        ("candle,foreign particals", "candle,foreign particles"),
    ],
)
def test_two_spellings_of_one_label_are_found(first, second):
    assert near_duplicate_labels([first, "steel,dent", second]) == [(first, second)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("steel strip,SDI", "steel strip,SPDI"),
        ("fabric,hole", "fabric,pole"),
        ("fabric,loose warp", "fabric,loose weft"),
        ("part,class number 1", "part,class number 2"),
        ("cap", "cap,cap"),
        ("bottle,broken large", "bottle,broken small"),
    ],
)
def test_two_labels_of_like_spelling_stay_two(first, second):
    assert near_duplicate_labels([first, second]) == []


def test_keys_with_several_values_are_told():
    pairs = [(1, "a"), (2, "b"), (1, "c"), (1, "a")]
    assert with_several(pairs) == {1: ("a", "c")}


def test_a_numbered_answer_that_runs_over_a_change_of_label_is_shifted():
    rows = [row_of(1, 5, "1. One."), row_of(2, 5, "2. Two."), row_of(3, 6, "3. Three.")]
    assert shifted_rows(rows) == [tuple(rows)]


def test_numbers_that_begin_anew_or_belong_to_one_label_are_not_shifted():
    rows = [row_of(1, 5, "1. One."), row_of(2, 5, "2. Two."), row_of(3, 6, "1. One.")]
    rows += [row_of(4, 7, "2. Two.", csv="b.csv"), row_of(9, 8, "3. Three.", csv="b.csv")]
    assert shifted_rows(rows) == []


def test_known_near_duplicates_of_the_release_are_found_and_no_others(release):
    assert near_duplicate_labels(row.category for row in release) == [
        ("fabric,broken spandex", "fabric,broken spandex."),
        ("lithographic layout,hotspot", "lithography layout, hotspot"),
    ]


def test_known_id_faults_of_the_release_are_found_and_no_others(release):
    assert set(with_several((row.label, row.category) for row in release)) == {397, 562}
    strings = with_several((row.category, row.label) for row in release)
    assert strings == {"silicon steel strip,SPDI": (397, 398)}


def test_known_shift_of_the_release_is_found_and_no_other(release):
    (run,) = shifted_rows(release)
    assert [row.image_name for row in run][1:] == [
        "bottle_broken_small_021.png",
        "bottle_contamination_000.png",
    ]


def test_the_one_template_of_iccad_is_a_group_of_copies(release):
    captions = [row.caption for row in release if row.domain == "iccad"]
    assert duplicate_captions(captions)[0] == (0, 1, 2, 5)
