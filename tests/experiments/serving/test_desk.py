"""Holds what comes first, what is refused in one line, and how a region changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.captions import Caption
from datamodules.vocabulary import Vocabulary
from experiments import predictor
from experiments.serving.desk import Entry, clean_name
from lightning_modules.nets.gallery import INDEX
from lightning_modules.nets.region_embedding import RegionEmbedding
from tests.experiments.serving.small_desk import (
    SIZE_PX,
    WORDS,
    bright_mask,
    drop,
    dropped,
    save_image,
    small_desk,
)
from tests.lightning_modules.small_weights import NET, save_net


def save_odd_images(folder: Path) -> dict[str, Path]:
    """Images as cameras, scanners and mistakes make them."""
    grey = Image.open(save_image(folder))
    frames = [grey, Image.new("L", grey.size)]
    wide = np.asarray(grey).astype(np.uint16) * 256
    files = {name: folder / name for name in ("dot.png", "wide.png", "cmyk.jpg", "moving.gif")}
    Image.new("L", (1, 1), 90).save(files["dot.png"])
    Image.fromarray(wide).save(files["wide.png"])
    grey.convert("CMYK").save(files["cmyk.jpg"])
    frames[0].save(files["moving.gif"], save_all=True, append_images=frames[1:])
    return files


def test_odd_images_are_answered_at_their_size_and_saved(tmp_path: Path) -> None:
    files = save_odd_images(tmp_path)
    with small_desk(tmp_path / "out") as desk:
        entries = {one.name: one for one in drop(desk, *files.values())}
        assert {name: one.size_px for name, one in entries.items()} == {
            "dot.png": (1, 1),
            "wide.png": SIZE_PX,
            "cmyk.jpg": SIZE_PX,
            "moving.gif": SIZE_PX,
        }
        assert entries["wide.png"].machine.regions[0].mask(SIZE_PX).sum() == 200
        for one in entries.values():
            desk.save(desk.open(one.key, "to review"), "Ann")
        assert len(desk.queue("done", "")) == 4


def test_what_is_no_image_or_too_large_is_one_line_and_the_others_are_answered(
    tmp_path: Path,
) -> None:
    text, huge, good = tmp_path / "text.png", tmp_path / "huge.png", save_image(tmp_path)
    text.write_text("no image")
    Image.new("1", (20_000, 10_000)).save(huge)
    with small_desk(tmp_path / "out") as desk:
        images = [(f"../x/{file.name}", file) for file in (text, huge, good)]
        found = dict(desk.answer(images, WORDS))
    assert isinstance(found["part 0.png"], Entry)
    assert "text.png is not a readable image" in str(found["text.png"])
    assert "huge.png would unpack to more than 100 megapixels" in str(found["huge.png"])
    assert "\n" not in f"{found['text.png']}{found['huge.png']}"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "name no defect"),
        ("pit; ; burr", "hold an empty name"),
        ("; ".join(f"type {k}" for k in range(500)), "words, expected at most 200"),
    ],
)
def test_words_that_are_none_or_too_many_are_one_line(
    words: str, line: str, tmp_path: Path
) -> None:
    with small_desk(tmp_path / "out") as desk, pytest.raises(ValueError, match=line):
        list(desk.answer([("a.png", save_image(tmp_path))], words))


def test_images_are_answered_again_in_other_words(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        (entry,) = drop(desk, save_image(tmp_path))
        ((_, again),) = desk.answer([(entry.name, entry.path)], "rust; not shadow")
        assert isinstance(again, Entry) and again.key == entry.key
        assert again.machine.regions[0].name == "rust" and list(desk.entries) == [entry.key]
        assert "rust" in desk.names and "pit" not in desk.names


def test_words_of_the_page_are_those_of_the_training_whatever_they_look_like(
    tmp_path: Path,
) -> None:
    with small_desk(tmp_path / "out") as desk:
        desk._trained = Vocabulary.from_names(["not soldered", "chip, corner", "chip, edge"])
        assert desk._read_words(desk.words) is None
        assert "not_soldered" in desk.words
        assert desk._read_words("not_soldered; chip") == "not_soldered; chip"


def test_what_needs_review_comes_first_and_then_the_closest_call(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        entries = drop(desk, *(save_image(tmp_path, place) for place in range(4)))
        answers = [(False, 0.9), (False, 0.45), (True, 0.8), (True, 0.6)]
        for one, (needs_review, score) in zip(entries, answers, strict=True):
            machine = replace(one.machine, needs_review=needs_review, image_score=score)
            desk.entries[one.key] = replace(one, machine=machine)
        names = [one.name for one in desk.queue("to review", "")]
        assert names == ["part 3.png", "part 2.png", "part 1.png", "part 0.png"]
        keys = [one.key for one in desk.queue("to review", "")]
        assert desk.after(keys[3], "to review", "") == keys[0]


def test_corrected_images_are_there_again_after_a_restart(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        draft = dropped(desk, tmp_path)
        desk.save(draft.renamed(0, "burr"), "Ann")
        dropped(desk, tmp_path, 1)
    with small_desk(tmp_path / "out") as desk:
        assert [one.key for one in desk.queue("done", "")] == [draft.entry.key]
        (entry,) = drop(desk, save_image(tmp_path, 0))
        assert entry.state == "reviewed" and not desk.queue("to review", "")
        assert desk.open(entry.key, "done").regions[0].name == "burr"


def test_region_is_renamed_redrawn_added_and_deleted(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        draft = dropped(desk, tmp_path)
    drawn = ~bright_mask()
    after = draft.renamed(0, "Fine_Crack").redrawn(None, drawn, "dirt").redrawn(0, drawn, "rust")
    assert [one.name for one in after.regions] == ["rust", "dirt"]
    assert np.array_equal(after.regions[0].mask(SIZE_PX), drawn) and after.regions[0].score is None
    assert [one.name for one in after.without(0).regions] == ["dirt"]
    assert [one.name for one in draft.regions] == ["pit"]
    for place, name, line in [
        (None, "a", "no region is selected"),
        (0, "good", "expected a defect"),
    ]:
        with pytest.raises(ValueError, match=line):
            draft.renamed(place, name)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing is drawn"):
        draft.redrawn(0, np.zeros(SIZE_PX, dtype=bool), "rust")


def test_caption_follows_mask_and_name_and_must_be_readable(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        draft = dropped(desk, tmp_path).renamed(0, "burr")
        caption = desk.caption(draft)
        assert (caption.product, caption.material, caption.defect) == (
            "bearing ring",
            "steel",
            "burr",
        )
        assert caption.location and caption.morphology and not caption.cause
        draft = desk.captioned(draft, written := replace(caption, cause=" a  worn tool"))
        renamed = desk.captioned(draft.renamed(0, "dent"), written)  # the page is a change behind
        saved = desk.save(renamed, "Ann")
        assert saved.history[0].caption == replace(caption, defect="dent", cause="a worn tool")
        again, bad = desk.open(draft.entry.key, "done"), Caption("ring with teeth", defect="burr")
        assert again.written == {"cause": "a worn tool"}
        with pytest.raises(ValueError, match="six fields"):
            desk.save(desk.captioned(again, bad), "Ann")
        with pytest.raises(ValueError, match="write your name"):
            desk.save(draft, " ")


def test_example_names_regions_from_then_on_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_net(tmp_path)
    embed = RegionEmbedding(str(tmp_path / "net.safetensors"), NET, side_px=32)
    monkeypatch.setattr(predictor, "RegionEmbedding", lambda weights: embed)
    with small_desk(tmp_path / "out") as desk:
        draft = dropped(desk, tmp_path)
        assert desk.add_example(draft, bright_mask(), "Chip") == 1
        assert desk.add_example(draft, bright_mask(), "chip") == 1  # the same
        assert desk.add_example(draft, bright_mask(5), "chip") == 2
        (entry,) = drop(desk, save_image(tmp_path, 1))
        said = entry.machine.regions[0]
        assert "chip" in (said.name, *(name for name, _ in said.runners_up))
        assert "chip" in desk.names
        with pytest.raises(ValueError, match="nothing is drawn"):
            desk.add_example(draft, np.zeros(SIZE_PX, dtype=bool), "chip")
        desk._predictor.use_labels("pit; not shadow")
        with pytest.raises(ValueError, match="the labels say 'not shadow'"):
            desk.add_example(draft, bright_mask(), "shadow")
    assert (tmp_path / "out" / "gallery" / INDEX).is_file()
    with small_desk(tmp_path / "out") as desk:  # with nothing accepted in it
        desk._predictor.join_gallery(tmp_path / "out" / "gallery")
        assert desk.add_example(dropped(desk, tmp_path), bright_mask(), "dent") == 1
        desk._predictor.join_gallery(tmp_path / "out" / "gallery")
        kept = desk._predictor.gallery
    assert kept and {name: len(one) for name, one in kept.vectors.items()} == {"chip": 2, "dent": 1}


def test_name_of_an_upload_is_no_path() -> None:
    assert clean_name("..\\..\\c:\\x/../a\u202eb\n.png") == "ab.png"
    assert clean_name("/") == "image" and len(clean_name("a" * 500)) == 80
