"""Holds what is understood of a prompt, what is painted into, and where: images, windows, masks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.manifest import Manifest
from datamodules.splits import FewShots
from experiments.generation.jobs import good_training_images
from experiments.generation.prompts import gather_prompts, parse_prompt
from experiments.generation.windows import draw_mask, join, soft_inside, window_around
from lightning_modules.nets.text_encoder import count_words
from tests.experiments.audits.small_manifest import rewritten, small_manifest

TEMPLATE = "Plate of steel with crack located at the right, potentially caused by a blow."


def upper_left() -> np.ndarray:
    mask = np.zeros((60, 60), dtype=bool)
    mask[4:12, 4:12] = True
    return mask


@pytest.mark.parametrize(
    ("text", "defect", "types"),
    [
        (TEMPLATE, None, "crack"),
        ("Plate with crack and oil stain.", None, "crack;oil stain"),
        ("Plate with no defect.", None, "good"),
        ("Plate with a deep crack.", "crack", "crack"),
        ("rusty", None, None),
        ("rusty", "Pin_Hole", "pin hole"),
        ("shiny", "normal", "good"),
    ],
)
def test_types_are_those_named(text: str, defect: str | None, types: str | None) -> None:
    assert parse_prompt(text, defect).types == types


@pytest.mark.parametrize(("named", "defect"), [("crack", "stain"), ("pitting", "pit")])
def test_prompt_that_contradicts_the_defect_is_refused(named: str, defect: str) -> None:
    with pytest.raises(ValueError, match=f"names '{named}', --defect is '{defect}'"):
        parse_prompt(f"Plate of steel with {named}.", defect)


def test_place_and_shape_are_as_the_mask_has_them() -> None:
    placed = parse_prompt(TEMPLATE, None).placed(upper_left())
    assert placed.text == (
        "Plate of steel with crack located at the upper left, characterized by a medium round "
        "area, potentially caused by a blow."
    )
    free_text = parse_prompt("rusty at the right", "rust")
    assert free_text.placed(upper_left()) == free_text


def test_long_caption_loses_fields_and_long_free_text_is_refused() -> None:
    assert parse_prompt(TEMPLATE, None).fitted(count_words, 4) == "Plate with crack."
    with pytest.raises(ValueError, match="takes 3 tokens, expected at most the text encoder's 2"):
        parse_prompt("very rusty bolt", None).fitted(count_words, 2)


def test_prompts_given_and_of_a_file_are_all_taken_or_that_of_the_defect(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("two \n\n three\n")
    gathered = gather_prompts(["one"], str(tmp_path / "p.txt"), None)
    assert [prompt.text for prompt in gathered] == ["one", "two", "three"]
    (prompt,) = gather_prompts([], "", "Pin_hole")
    assert (prompt.text, prompt.types) == ("Part with pin hole.", "pin hole")


@pytest.mark.parametrize("text", ["rusty", "Plate with no defect.", "Plate with crack and stain."])
def test_a_mask_needs_exactly_one_type(text: str) -> None:
    gather_prompts([text], "", None)
    with pytest.raises(ValueError, match="a mask shows one type of defect"):
        gather_prompts([text], "", None, has_mask=True)


def test_only_real_good_images_of_training_are_painted_into(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path, count=40)
    rows = np.arange(30)
    good = [row for row in rows.tolist() if not manifest[row].defects]
    assert 5 < len(good) < 25
    records = [
        replace(manifest[row], is_generated=row == good[1], split="train" if row < 30 else "test")
        for row in range(40)
    ]
    file = rewritten(tmp_path / "manifest.parquet", records, tmp_path / "raw").path
    good.pop(1)

    def found(limit: int | None, seed: int) -> list[Path]:
        return [image.path for image in good_training_images(file, limit, seed=seed)]

    assert found(None, 0) == [tmp_path / "raw" / manifest[row].image for row in good]
    for seed in (0, 1):
        shots = FewShots(2, seed=seed).choose(Manifest.open(file), rows).tolist()
        assert found(2, seed) == [
            tmp_path / "raw" / manifest[row].image for row in shots if row in good
        ]


def test_set_without_good_images_is_one_line(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    records = [replace(manifest[row], is_generated=True) for row in manifest.rows_of("train")]
    file = rewritten(tmp_path / "manifest.parquet", records, tmp_path / "raw").path
    with pytest.raises(ValueError, match="has no good image among its 3 of training"):
        good_training_images(file, None, seed=0)


def block(size_px: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(size_px, dtype=bool)
    mask[rows, columns] = True
    return mask


def numbered(size_px: tuple[int, int]) -> np.ndarray:
    """An image in which every pixel has its own value."""
    return np.arange(size_px[0] * size_px[1]).reshape(size_px)


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (block((200, 300), slice(90, 110), slice(140, 160)), (64, 64)),
        (block((200, 300), slice(195, 200), slice(0, 4)), (64, 64)),
        (block((200, 300), slice(None), slice(None)), (224, 320)),
        (block((200, 300), slice(50, 60), slice(10, 211)), (64, 224)),
        (block((31, 500), slice(0, 31), slice(480, 500)), (64, 64)),
    ],
    ids=["middle", "corner", "whole image", "wider than the side", "oblong image"],
)
def test_window_holds_the_whole_mask_and_goes_back_where_it_was(
    mask: np.ndarray, shape: tuple[int, int]
) -> None:
    image, window = numbered(mask.shape), window_around(mask, side_px=64, stride_px=32)
    seen = window.cut_mask(mask)
    assert seen.sum() == mask.sum() and seen.shape == shape
    cut = window.cut(image)
    assert np.array_equal(window.place(image, cut), image)
    assert np.array_equal(window.cut(window.place(image, -cut)), -cut)


def test_small_image_is_mirrored_outwards() -> None:
    window = window_around(block((2, 3), slice(0, 1), slice(0, 1)), side_px=4, stride_px=2)
    assert window.cut(numbered((2, 3))).tolist() == [
        [3, 4, 5, 4], [0, 1, 2, 1], [3, 4, 5, 4], [0, 1, 2, 1]
    ]  # fmt: skip
    assert window.cut_mask(block((2, 3), slice(0, 2), slice(0, 3))).sum() == 6


@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_outside_the_mask_are_bit_identical(channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image, painted = rng.integers(0, 256, (2, 50, 60, *channels), dtype=np.uint8)
    mask = block((50, 60), slice(10, 30), slice(20, 45))
    joined = join(image, painted, mask)
    assert joined.dtype == np.uint8
    assert np.array_equal(joined[~mask], image[~mask])
    assert np.array_equal(joined[14:26, 24:41], painted[14:26, 24:41])


def test_seam_rises_inside_a_broad_mask_and_not_at_the_border_or_in_a_hairline() -> None:
    share = soft_inside(block((40, 40), slice(10, 30), slice(10, 30)))
    assert share[20, 9:15].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 1, 1])
    hairline = block((40, 40), slice(20, 22), slice(5, 35))
    assert np.array_equal(soft_inside(hairline), hairline)
    assert soft_inside(block((40, 40), slice(0, 20), slice(0, 40)))[0, 0] == 1
    assert (soft_inside(np.ones((9, 9), dtype=bool)) == 1).all()


@pytest.mark.parametrize("defect", ["crack", "hole", "missing part", "fray", "no known name"])
def test_drawn_mask_fits_image_and_window(defect: str) -> None:
    for number in range(20):
        rng = np.random.default_rng(number)
        mask = draw_mask(rng, (90, 400), defect=defect, side_px=64)
        assert mask.shape == (90, 400) and 20 <= mask.sum() <= 0.5 * 64**2
        assert max(np.ptp(places) for places in np.nonzero(mask)) < 64


def test_image_too_small_for_a_drawn_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="image is 9 x 8 px: too small to draw a mask of 'hole'"):
        draw_mask(np.random.default_rng(0), (8, 9), defect="hole", side_px=64)
