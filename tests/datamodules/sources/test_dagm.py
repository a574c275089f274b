"""The quirks of DAGM 2007, on fake files."""

import shutil
from pathlib import Path

import pytest

from datamodules.sources.dagm import Dagm
from tests.datamodules.sources.layouts.dagm import write
from tests.datamodules.sources.painting import save, texture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def test_textures_come_in_the_order_of_their_numbers(root):
    write_copy(root, of="Class1", to="Class2")
    products = dict.fromkeys(record.caption.product for record in Dagm().records(root))
    assert list(products) == ["texture 1", "texture 2", "texture 10"]


def write_copy(root: Path, *, of: str, to: str) -> None:
    shutil.copytree(root / of, root / to)


def test_labels_txt_tells_who_is_defective(root):
    defective = [record.image for record in Dagm().records(root) if record.defects]
    assert defective == [
        "Class1/Train/0577.PNG",
        "Class1/Test/0002.PNG",
        "Class10/Train/0577.PNG",
        "Class10/Test/0002.PNG",
    ]


def test_doubled_folders_of_some_copies_are_read(tmp_path):
    write(tmp_path / "plain")
    write_copy(tmp_path, of="plain/Class1", to="doubled/Class1/Class1")
    assert len(Dagm().records(tmp_path / "doubled")) == 4


def test_a_label_file_of_a_good_picture_is_a_flaw(root):
    save(root / "Class1/Train/Label/0576_label.PNG", texture(1))
    flaws = [record.flaw for record in Dagm().records(root) if record.flaw]
    assert flaws == [
        "Class1/Train/0576.PNG is good by Labels.txt but has a label file: take the set again"
    ]


def test_a_missing_label_file_is_a_flaw(root):
    (root / "Class1/Test/Label/0002_label.PNG").unlink()
    flaws = [record.flaw for record in Dagm().records(root) if record.flaw]
    assert flaws == [
        "Class1/Test/0002.PNG is defective by Labels.txt but has no label file: take the set again"
    ]


def test_a_picture_without_a_line_is_a_flaw(root):
    save(root / "Class1/Test/0003.PNG", texture(3))
    flaws = [record.flaw for record in Dagm().records(root) if record.flaw]
    assert flaws == ["Class1/Test/0003.PNG has no line in Labels.txt: take the set again"]


def test_missing_labels_txt_is_one_clear_line(root):
    (root / "Class10/Test/Label/Labels.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"Labels\.txt is missing in .*Class10"):
        Dagm().records(root)


def test_bad_line_of_labels_txt_is_named(root):
    (root / "Class1/Train/Label/Labels.txt").write_text("1\n576 yes 0576.PNG\n", "utf-8")
    with pytest.raises(ValueError, match=r"Labels\.txt line 2 is '576 yes 0576\.PNG': expected"):
        Dagm().records(root)
