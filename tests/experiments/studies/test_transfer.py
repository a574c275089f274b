"""Holds which tests of Table 6 are free of leaks."""

import pytest

from experiments.studies.transfer import LEAK_FREE, LITERAL, Transfer

SETS = {"a": "a.parquet", "b": "b.parquet", "c": "c.parquet"}


def test_shared_pictures_and_sets_of_stage_1_are_no_leak_free_tests() -> None:
    study = Transfer(SETS, seen_before=("c",), sharing=(("a", "b"),))
    found = {(train, test): study.protocol(train, test) for train in SETS for test in SETS}
    literal = {pair for pair, protocol in found.items() if protocol == LITERAL}
    assert literal == {("a", "b"), ("b", "a"), ("a", "c"), ("b", "c"), ("c", "c")}
    assert set(found.values()) == {LITERAL, LEAK_FREE}


def test_unknown_set_is_one_line() -> None:
    with pytest.raises(ValueError, match="names 'd': expected some of a, b, c"):
        Transfer(SETS, sharing=(("a", "d"),))
