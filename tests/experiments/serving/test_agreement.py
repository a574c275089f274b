"""Holds the figures of two people and of people and machine, counted by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from experiments.serving.agreement import people_and_machine, people_and_people, write_agreement
from tests.experiments.serving.small_desk import SIZE_PX, bright_mask, dropped, small_desk


def half_mask() -> np.ndarray:
    """Half of the bright patch of image 2."""
    mask = bright_mask(2)
    mask[:, 32:] = False
    return mask


def test_two_people_and_the_machine_are_counted(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        seconds = {
            0: lambda draft: draft,
            1: lambda draft: draft.renamed(0, "burr"),
            2: lambda draft: draft.redrawn(0, half_mask(), "pit"),
            3: lambda draft: draft.without(0),
        }
        for place, change in seconds.items():
            draft = dropped(desk, tmp_path, place)
            desk.save(draft, "Ann")
            desk.save(change(desk.open(draft.entry.key, "second review")), "Ben")
        desk.save(dropped(desk, tmp_path, 4).renamed(0, "burr"), "Ann")
        corrections = desk.corrections.read_all()
        people, machine = people_and_people(corrections), people_and_machine(corrections)
        text = write_agreement(desk.corrections)
        desk.save(desk.open(draft.entry.key, "to agree on").taken(), "Ann")
        later = people_and_people(desk.corrections.read_all()).figures
    assert (later["differ"], later["consensus"]) == (3, 1)
    assert people.figures["images"] == 4 and people.figures["types_observed"] == 0.5
    assert (people.figures["differ"], people.figures["differ_share"]) == (3, 0.75)
    # Pits: two drawn by both, one of them by half; two by Ann alone. Burrs: one by Ben alone.
    assert people.figures["masks_mean_iou"] == pytest.approx((1 + 0.5) / 2)
    assert people.figures["masks_by_one_only"] == 3
    assert {one.image for one in people.findings if one.kind == "differs"} == {
        f"part {place}.png" for place in (1, 2, 3)
    }
    assert (machine.figures["reviews"], machine.figures["overridden"]) == (9, 4)
    assert machine.figures["share_overridden"] == pytest.approx(4 / 9)
    (row,) = machine.tables[0].rows
    assert row[1:3] == (9, 4)
    assert "share_overridden" in text and (tmp_path / "out" / "agreement.md").read_text() == text


def test_nothing_reviewed_is_said_and_all_alike_has_no_kappa(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        assert people_and_people([]).note and people_and_machine([]).note
        draft = dropped(desk, tmp_path)
        desk.save(draft, "Ann")
        desk.save(desk.open(draft.entry.key, "second review"), "Ben")
        found = people_and_people(desk.corrections.read_all())
    assert math.isnan(found.figures["types_kappa"]) and "no kappa" in found.note
    assert found.figures["differ_share"] == 0 and draft.entry.size_px == SIZE_PX
