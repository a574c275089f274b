"""COCO's run lengths against pycocotools, and what is none of them."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from datamodules.annotation import draw_region
from datamodules.formats.run_lengths import decode_counts, runs_of_counts
from datamodules.sample import Region


def random_mask(seed: int, density: float) -> np.ndarray:
    return np.random.default_rng(seed).random((37, 53)) < density


@pytest.mark.parametrize("density", [0.003, 0.1, 0.5, 0.97])
@pytest.mark.parametrize("seed", range(5))
def test_compressed_string_gives_the_very_mask_back(seed, density):
    mask = random_mask(seed, density)
    coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = decode_counts(coded["counts"].decode())
    runs = runs_of_counts(counts, width_px=53, height_px=37)
    drawn = draw_region(Region("crack", "runs", runs), size_px=(37, 53))
    again = coco_mask.encode(np.asfortranarray(drawn.astype(np.uint8)))
    assert again == coded


def test_long_counts_survive_their_letters():
    counts = [3_000_000, 1, 7_000_000, 2_999_999, 5]
    text = coco_mask.frPyObjects({"size": [3250, 4000], "counts": counts}, 3250, 4000)["counts"]
    assert decode_counts(text.decode()) == counts


def test_defect_in_the_first_pixel_starts_at_zero():
    assert runs_of_counts([0, 5, 3, 2], width_px=2, height_px=5) == (0, 5, 8, 2)


def test_blank_mask_has_no_runs():
    assert runs_of_counts([10], width_px=2, height_px=5) == ()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([5, 4], r"sum to 9, expected 2 x 5 = 10 px .* RLE of CVAT or Label Studio"),
        ([12, -2], "hold -2"),
        ([5.5, 4.5], r"hold 5\.5"),
        ([float("nan"), 10], "hold nan"),
        ([float("inf"), 10], "hold inf"),
        ([], "sum to 0"),
    ],
)
def test_counts_that_are_not_cocos_are_one_clear_line(counts, words):
    with pytest.raises(ValueError, match=words):
        runs_of_counts(counts, width_px=2, height_px=5)


@pytest.mark.parametrize("text", ["5 4", "ü", "~~~", "b6o", "o" * 40, "\x00"])
def test_letters_that_are_no_counts_are_refused(text):
    with pytest.raises(ValueError, match="run lengths"):
        decode_counts(text)
