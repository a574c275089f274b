"""Released captions joined to images; the real rows have no images here."""

import logging
from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sample import Record
from datamodules.sources.imdd1m_release import Imdd1mRelease
from tests.datamodules.sources.painting import save, texture
from tests.datamodules.sources.public_layouts import write_captions, write_imdd1m_release


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_imdd1m_release(tmp_path)
    return tmp_path


def by_name(root: Path, **settings: object) -> dict[str, Record]:
    records = Imdd1mRelease(**settings).records(root)
    return {Path(record.image).name: record for record in records}


def test_images_are_found_anywhere_in_their_folder_whatever_their_case(root):
    records = by_name(root)
    assert records["mt3_blowhole_001.jpg"].image == "5-10MT_tiles/blowhole/mt3_blowhole_001.jpg"
    assert records["MT3_FREE_001.JPG"].released_caption == "Tiles are flat."
    assert records["WEL9 - Copy.bmp"].released_caption == "The device’s defect."


def test_rows_without_a_image_are_counted(root, caplog):
    with caplog.at_level(logging.WARNING):
        records = by_name(root)
    assert "mt3_blowhole_404.jpg" not in records
    assert "1 of 8 caption rows have no image, the first is mt3_blowhole_404.jpg" in caplog.text


def test_equal_names_of_two_domains_are_not_mixed(root):
    save(root / "31-38solarcell/mt3_free_001.jpg", texture(9))
    records = Imdd1mRelease().records(root)
    captions = {r.image: r.released_caption for r in records if "free_001" in r.image.lower()}
    assert captions == {
        "5-10MT_tiles/free/MT3_FREE_001.JPG": "Tiles are flat.",
        "31-38solarcell/mt3_free_001.jpg": "",
    }


def test_two_images_of_one_name_are_refused(root):
    save(root / "5-10MT_tiles/again/mt3_blowhole_001.jpg", texture(9))
    problems = [inspect(record, root).problem for record in Imdd1mRelease().records(root)]
    assert sum("share the name of 5-10MT_tiles" in problem for problem in problems) == 1


def test_captions_may_lie_elsewhere(tmp_path):
    write_captions(tmp_path / "captions")
    save(tmp_path / "images/semiconductor/WEL9 - Copy.bmp", texture(1))
    (record,) = Imdd1mRelease(captions_root=str(tmp_path / "captions")).records(tmp_path / "images")
    assert record.image == "semiconductor/WEL9 - Copy.bmp"


def test_captions_without_any_image_are_one_clear_line(tmp_path):
    write_captions(tmp_path)
    with pytest.raises(FileNotFoundError, match="no image for any of the 8 caption rows"):
        Imdd1mRelease().records(tmp_path)
