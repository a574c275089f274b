"""The quirks of MVTec AD, on fake files."""

from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sources.mvtec_ad import MvtecAd
from tests.datamodules.sources.layouts.mvtec_ad import write
from tests.datamodules.sources.painting import save, spot, texture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def test_folder_names_become_plain_words(root):
    defects = {record.defects for record in MvtecAd().records(root)}
    assert defects == {(), ("broken large",)}


def test_the_published_split_is_kept(root):
    records = MvtecAd().records(root)
    assert [record.split for record in records] == ["train", "test", "test"] * 2
    assert not any(record.defects for record in records if record.split == "train")


def test_text_files_and_hidden_files_are_no_pictures(root):
    (root / "bottle/test/good/._000.png").write_bytes(b"left by a desktop")
    (root / "bottle/test/good/Thumbs.db").write_bytes(b"left by a desktop")
    assert len(MvtecAd().records(root)) == 6


def test_upper_case_endings_are_pictures(root):
    save(root / "bottle/train/good/001.PNG", texture(8))
    assert "bottle/train/good/001.PNG" in [record.image for record in MvtecAd().records(root)]


def test_only_the_wanted_categories_are_read(root):
    records = MvtecAd(categories=["grid"]).records(root)
    assert {record.caption.product for record in records} == {"grid"}


def test_unknown_category_is_one_clear_line(root):
    with pytest.raises(ValueError, match=r"category 'cap' is not in .* expected some of bottle"):
        MvtecAd(categories=["cap"]).records(root)


def test_missing_ground_truth_is_a_flaw_of_its_picture_alone(root):
    (root / "grid/ground_truth/broken_large/000_mask.png").unlink()
    flaws = [record.flaw for record in MvtecAd().records(root) if record.flaw]
    assert flaws == [
        "grid/test/broken_large/000.png has no 000_mask.png in ground_truth/broken_large: "
        "take the set again"
    ]


def test_ground_truth_of_another_size_is_refused(root):
    save(root / "grid/ground_truth/broken_large/000_mask.png", spot(255)[:30])
    problems = [inspect(record, root).problem for record in MvtecAd().records(root)]
    assert sum("expected its image's" in problem for problem in problems) == 1
