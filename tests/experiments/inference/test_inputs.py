"""Which images a path, a glob or a list names, and what becomes of lists that are none."""

import json
from pathlib import Path

import pytest
from PIL import Image

from experiments.inference.inputs import find_images


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for name in ("a.png", "b c.jpg", "deep/a.png", "not_listed.png", "notes.txt", ".a.png"):
        path = tmp_path / "parts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path, format="PNG")
    return tmp_path / "parts"


def coco(*names: object) -> str:
    return json.dumps({"images": [{"file_name": name} for name in names]})


def found(pattern: Path | str, root: Path | str = "") -> list[tuple[str, str]]:
    return [(image.name, image.file_name) for image in find_images(str(pattern), str(root))[0]]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["a.png", "b c.jpg", "deep/a.png", "not_listed.png"]),
        ("a*", ["a.png"]),
        ("**/a.png", ["a.png", "deep/a.png"]),
        ("b c.jpg", ["b c.jpg"]),
    ],
)
def test_folder_glob_and_file_give_what_is_no_other_file(
    parts: Path, pattern: str, names: list[str]
) -> None:
    assert [name for _, name in found(parts / pattern)] == names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.json", coco("deep/a.png", "b c.jpg", "b c.jpg")),
        ("list.csv", "\ufefftype,image\npit,deep/a.png\n,b c.jpg\n"),
    ],
)
@pytest.mark.parametrize("has_root", [False, True])
def test_lists_give_each_of_their_images_once_in_their_order(
    parts: Path, tmp_path: Path, name: str, text: str, has_root: bool
) -> None:
    file = (tmp_path if has_root else parts) / name
    file.write_text(text, encoding="utf-8")
    expected = [("deep/a", "deep/a.png"), ("b c", "b c.jpg")]
    assert found(file, parts if has_root else "") == expected


def test_names_that_leave_the_root_or_would_be_shared_get_their_own(
    parts: Path, tmp_path: Path
) -> None:
    Image.new("L", (8, 8)).save(parts / "A.bmp")
    assert [name for name, _ in found(parts / "[aA]*")] == ["A.bmp", "a.png"]
    (tmp_path / "lists").mkdir()
    file = tmp_path / "lists/l.json"
    file.write_text(coco("../parts/a.png", str(parts / "deep/a.png")))
    assert [name for name, _ in found(file)] == ["a", "deep/a"]


def test_no_two_images_of_a_folder_share_a_name(tmp_path: Path) -> None:
    """Their results lie in files of these names."""
    for name in ("A.bmp", "a.jpg", "a.png", "a.png.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert [name for name, _ in found(tmp_path)] == ["A.bmp", "a.jpg", "a.png", "a.png.png"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("l.json", "{", "l.json is no readable JSON"),
        ("l.json", '{"categories": []}', "holds categories: expected COCO's list of images"),
        ("l.json", '{"images": [{"id": 1}]}', "image number 1 has no file name"),
        ("l.json", coco("gone.png"), r"gone\.png is missing.*--root"),
        ("l.csv", "", "has no column 'image'"),
        ("l.csv", "image\n", "matches no image"),
        ("l.csv", "image,type\na.png,\n,pit\n", "image number 2 has no file name"),
        ("l.csv", "image\n\udcff\n", "is not readable"),
    ],
)
def test_lists_without_images_are_refused(parts: Path, name: str, text: str, words: str) -> None:
    (parts / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        find_images(str(parts / name))


def test_no_images_and_a_root_without_a_list_are_refused(parts: Path) -> None:
    (parts / "empty").mkdir()
    for pattern in ("nowhere", "empty", "empty/*.png"):
        with pytest.raises(FileNotFoundError, match="holds or matches no image"):
            find_images(str(parts / pattern))
    with pytest.raises(FileNotFoundError, match="--images is empty"):
        find_images("")
    with pytest.raises(ValueError, match="--root elsewhere comes with"):
        find_images(str(parts), "elsewhere")
