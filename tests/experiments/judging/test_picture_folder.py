"""Claims about folders of generated pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.vocabulary import Vocabulary
from experiments.judging.picture_folder import GeneratedPictures, type_in_words

WORDS = Vocabulary.parse("crack; stain, blot; dark stain; good")


def write_picture(path: Path, *, side_px: int = 32, level: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side_px, side_px), level, np.uint8)).save(path)


def write_journal(folder: Path, *entries: object) -> None:
    (folder / "generated.jsonl").write_text("\n".join(map(json.dumps, entries)) + "\n")


def test_journal_tells_pictures_prompts_and_types(tmp_path: Path) -> None:
    for number in range(3):
        write_picture(tmp_path / f"images/{number}.png")
    write_picture(tmp_path / "grid.png")
    write_journal(
        tmp_path,
        {"image": "images/0.png", "prompt": "Plate with blot.", "defect": None},
        {"image": "images/1.png", "prompt": "Plate with no defect."},
        {"image": "images/2.png", "prompt": "something", "defect": "crack;stain"},
    )
    pictures = GeneratedPictures(tmp_path, WORDS)
    assert pictures.kinds == ["stain", "good", "crack"]
    assert pictures.prompts == ["Plate with blot.", "Plate with no defect.", "something"]
    assert len(pictures) == 3


def test_any_folder_is_taken_with_its_subfolders_as_types(tmp_path: Path) -> None:
    for name in ("dark_stain/a.png", "crack/b.jpg", "masks/b.png", "c.bmp"):
        write_picture(tmp_path / name)
    pictures = GeneratedPictures(tmp_path, WORDS)
    assert dict(zip(pictures.names, pictures.kinds, strict=True)) == {
        "dark_stain/a.png": "dark stain",
        "crack/b.jpg": "crack",
        "c.bmp": "",
    }


def test_a_view_is_the_whole_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "crack/a.png", level=17)
    view = GeneratedPictures(tmp_path, WORDS)[0]
    assert view.kind == "crack"
    assert view.pixels.shape == (32, 32, 3) and (view.pixels == 17).all()


def test_sizes_are_told_apart(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", side_px=32)
    write_picture(tmp_path / "b.png", side_px=48)
    assert GeneratedPictures(tmp_path, WORDS).sizes_px() == {(32, 32), (48, 48)}


@pytest.mark.parametrize("line", ['{"image"', "[]", '"text"', '{"prompt": "no image"}'])
def test_broken_journal_is_one_line_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "generated.jsonl").write_text('{"image": "a.png"}\n' + line)
    with pytest.raises(ValueError, match="line 2 is broken") as caught:
        GeneratedPictures(tmp_path, WORDS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["none", ""])
def test_folder_without_pictures_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        GeneratedPictures(tmp_path / name, WORDS)


def test_longest_name_in_a_text_wins_and_parts_of_words_do_not_count() -> None:
    assert type_in_words("A plate with a Dark-Stain", WORDS) == "dark stain"
    assert type_in_words("cracked plate", WORDS) == ""
