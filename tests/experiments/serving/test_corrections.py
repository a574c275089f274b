"""Holds that what people say is on disk at once, is trained on, and is overwritten by nobody."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import open_annotation
from datamodules.manifest import Manifest
from experiments.cli import call_command
from experiments.inference.examples import read_records
from experiments.prepare import prepare
from experiments.serving.corrections import ChangedMeanwhileError, Corrections
from experiments.serving.desk import Draft
from tests.experiments.serving.small_desk import bright_mask, drop, dropped, save_image, small_desk


def test_prepare_reads_what_people_saved_pixel_for_pixel(tmp_path: Path) -> None:
    out = tmp_path / "out"
    drawn = np.zeros((40, 60), dtype=bool)
    drawn[5:9, 3:50] = drawn[5:30, 7] = True
    with small_desk(out) as desk:
        desk.save(dropped(desk, tmp_path, 0), "Ann")
        first = dropped(desk, tmp_path, 1)
        desk.save(first.renamed(0, "Long_Scratch").redrawn(None, drawn, "burr"), "Ann")
        desk.save(dropped(desk, tmp_path, 2).without(0), "Ann")
    words = ["--source", "coco", "--root", str(out), "--out", str(tmp_path / "set")]
    assert call_command(prepare, words) == 0
    manifest = Manifest.open(tmp_path / "set" / "manifest.parquet")
    records = [manifest[row] for row in range(len(manifest))]
    assert sorted(record.defects for record in records) == [
        (),
        ("burr", "long scratch"),
        ("pit",),
    ]
    (record,) = [one for one in records if len(one.defects) == 2]
    ids = open_annotation(
        record, manifest.root, vocabulary=manifest.vocabulary, image_size_px=(40, 60)
    )
    assert ids is not None
    assert np.array_equal(ids == manifest.vocabulary.id_of("burr"), drawn)
    long_ones = ids == manifest.vocabulary.id_of("long scratch")
    assert np.array_equal(long_ones, bright_mask(1) & ~drawn)
    assert record.caption.material == "steel" and record.caption.location


def test_examples_reads_the_folder(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        desk.save(dropped(desk, tmp_path).renamed(0, "chip"), "Ann")
    root, (record,), vocabulary = read_records(tmp_path / "out")
    assert (root / record.image).is_file()
    assert (record.defects, record.mask_kind) == (("chip",), "pixel")
    assert vocabulary.id_of("chip") > 0


def test_who_when_and_what_the_machine_said_are_kept(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        draft = dropped(desk, tmp_path)
        saved = desk.save(draft.renamed(0, "burr"), " Ann  Lee ")
    (review,) = Corrections(tmp_path / "out").read_all()[0].history
    assert (review.reviewer, review.kind) == ("Ann Lee", "review")
    assert review.machine == draft.entry.machine and review.machine.regions[0].name == "pit"
    assert review.overrode and review == saved.history[0]
    assert review.caption.defect == "burr" and review.at.endswith("+00:00")


def test_second_of_two_who_correct_one_image_is_told_and_overwrites_nothing(
    tmp_path: Path,
) -> None:
    with small_desk(tmp_path / "out") as desk:
        anns, bens = (dropped(desk, tmp_path) for _ in range(2))
        desk.save(anns.renamed(0, "burr"), "Ann")
        (file,) = (tmp_path / "out" / "annotations").iterdir()
        before = file.read_bytes()
        with pytest.raises(
            ChangedMeanwhileError, match=r"^Ann saved this image at .* open it again"
        ):
            desk.save(bens.without(0), "Ben")
        assert file.read_bytes() == before
        seen = desk.open(anns.entry.key, "done")
        assert [one.name for one in seen.regions] == ["burr"] and seen.people == ("Ann",)
        assert desk.save(seen.without(0), "Ben").version == 2


def two_reviews(desk, folder: Path, place: int, name: str) -> Draft:  # type: ignore[no-untyped-def]
    """Ann accepts an image, and Ben, who has not seen that, gives its region a name."""
    draft = dropped(desk, folder, place)
    desk.save(draft.renamed(0, "burr"), "Ann")
    blind = desk.open(draft.entry.key, "second review")
    assert [one.name for one in blind.regions] == ["pit"] and not blind.people
    desk.save(blind.renamed(0, name), "Ben")
    return draft


def test_nobody_trains_on_what_two_people_differ_about_until_they_agree(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with small_desk(out) as desk:
        key = two_reviews(desk, tmp_path, 0, "chip").entry.key
        _, (record,), _ = read_records(out)
        assert record.split == "unlabelled" and not record.regions
        assert [one.key for one in desk.queue("to agree on", "Ann")] == [key]
        both = desk.open(key, "to agree on")
        assert [one[0].name for one in (both.regions, both.other)] == ["burr", "chip"]
        assert desk.save(both.taken(), "Ann").state == "consensus"
        _, (record,), _ = read_records(out)
        assert record.defects == ("chip",)
        assert not desk.queue("to agree on", "Ann")


def test_two_people_who_agree_need_no_consensus_and_the_first_is_no_second(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        draft = dropped(desk, tmp_path)
        desk.save(draft, "Ann")
        key = draft.entry.key
        assert not desk.queue("second review", "Ann") and desk.queue("second review", "Ben")
        blind = desk.open(key, "second review")
        with pytest.raises(ValueError, match=r"second review by 'Ann'.*another person's"):
            desk.save(blind, "Ann")
        assert desk.save(blind, "Ben").state == "agreed"
        fresh = dropped(desk, tmp_path, 1)
        with pytest.raises(ValueError, match="consensus of less than two"):
            desk.save(replace(fresh, kind="consensus"), "Ann")


def test_full_disk_loses_nothing_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with small_desk(out) as desk:
        first, second = dropped(desk, tmp_path, 0), dropped(desk, tmp_path, 1)
        desk.save(first, "Ann")
        files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        again = desk.open(first.entry.key, "done").renamed(0, "burr")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
            for draft in (again, second):
                with pytest.raises(
                    OSError, match=r"^not saved \(File too large\).*still on the page"
                ):
                    desk.save(draft, "Ann")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert files == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        assert desk.save(again, "Ann").version == 2 and desk.save(second, "Ann").version == 1


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_turned_image_is_kept_as_people_saw_it(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / f"turned.{suffix}"
    with Image.open(save_image(tmp_path)) as image:
        image.save(path, exif=exif, quality=95)
    with small_desk(tmp_path / "out") as desk:
        (entry,) = drop(desk, path)
        assert entry.size_px == (60, 40)
        saved = desk.save(desk.open(entry.key, "to review"), "Ann")
        with Image.open(desk.corrections.image_of(saved)) as kept:
            assert kept.size == (40, 60) and not kept.getexif()


def test_foreign_folder_and_broken_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds no annotations.*choose another --out"):
        Corrections(tmp_path / "mine")
    with small_desk(tmp_path / "out") as desk:
        desk.save(dropped(desk, tmp_path), "Ann")
    (file,) = (tmp_path / "out" / "annotations").iterdir()
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"history": [{"kind": "review"}]}))
    with pytest.raises(ValueError, match="is not as serve writes it"):
        Corrections(tmp_path / "out").read_all()
