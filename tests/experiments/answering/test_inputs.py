"""Which images a list names, and what becomes of lists that are none."""

import json
from pathlib import Path

import pytest
from PIL import Image

from experiments.answering.inputs import AskedImage, find_images


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for name in ("a.png", "b c.jpg", "deep/a.png", "not_listed.png"):
        path = tmp_path / "parts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    return tmp_path / "parts"


def write_coco(path: Path, *names: object) -> Path:
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    path.write_text(json.dumps({"images": images}), encoding="utf-8")
    return path


def write_table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_coco_file_gives_its_images_by_their_relative_names(parts: Path) -> None:
    file = write_coco(parts / "list.json", "deep/a.png", "a.png", "a.png")
    found = find_images(str(file))
    assert found == {"deep/a": parts / "deep" / "a.png", "a": parts / "a.png"}


@pytest.mark.parametrize("column", ["image", "path"])
def test_table_gives_its_images_in_its_order(parts: Path, column: str) -> None:
    file = write_table(parts / "list.csv", f"\ufefftype,{column}\npit,deep/a.png\n,b c.jpg\n")
    assert list(find_images(str(file))) == ["deep/a", "b c"]


def test_root_says_where_names_start(parts: Path, tmp_path: Path) -> None:
    file = write_table(tmp_path / "list.csv", "image\na.png\n")
    assert find_images(str(file), str(parts)) == {"a": parts / "a.png"}


def test_names_that_leave_the_root_keep_their_results_inside(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    file = write_coco(tmp_path / "lists/l.json", "../parts/a.png", str(parts / "deep/a.png"))
    assert list(find_images(str(file))) == ["a", "deep/a"]


def test_file_name_has_folders_and_suffix(parts: Path) -> None:
    names = [AskedImage(*item).file_name for item in find_images(str(parts)).items()]
    assert names == ["a.png", "b c.jpg", "deep/a.png", "not_listed.png"]


def test_missing_image_of_a_list_says_where_it_was_sought(parts: Path) -> None:
    file = write_coco(parts / "list.json", "gone.png")
    with pytest.raises(FileNotFoundError, match=r"gone\.png.*--root"):
        find_images(str(file))


@pytest.mark.parametrize("content", ["{", "[]", '{"categories": []}', '{"images": [{"id": 1}]}'])
def test_json_that_lists_no_images_is_refused(parts: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r"list\.json"):
        find_images(str(write_table(parts / "list.json", content)))


@pytest.mark.parametrize("text", ["", "picture\na.png\n", "image\n\n , \n", "image,type\n,pit\n"])
def test_table_without_images_is_refused(parts: Path, text: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=r"list\.csv"):
        find_images(str(write_table(parts / "list.csv", text)))


def test_root_of_a_folder_is_refused(parts: Path) -> None:
    with pytest.raises(ValueError, match="--root"):
        find_images(str(parts), "elsewhere")
