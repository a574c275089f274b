"""Holds that a share's interval is Wilson's."""

import math

import pytest

from lightning_modules.metrics.calibration import Proportion


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (7, 10), (10, 10), (950, 1000)])
def test_ends_of_the_interval_are_where_the_score_test_just_rejects(hits: int, of: int) -> None:
    share = Proportion(hits, of)
    for end in share.interval:
        if 1e-9 < end < 1 - 1e-9:
            deviation = abs(share.value - end) / math.sqrt(end * (1 - end) / of)
            assert deviation == pytest.approx(1.959964, abs=1e-5)


def test_ten_of_ten_are_not_sure_to_be_all() -> None:
    assert Proportion(10, 10).interval == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_nothing_counted_has_no_share() -> None:
    content = Proportion(0, 0).content()
    assert content == {"value": None, "low": None, "high": None, "hits": 0, "of": 0}
