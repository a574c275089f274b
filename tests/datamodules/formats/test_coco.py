"""COCO's run lengths against pycocotools, what is none of them, and Label Studio's names."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from datamodules.annotation import draw_region
from datamodules.formats.coco import decode_counts, original_names, runs_of_counts
from datamodules.sample import Region


@pytest.mark.parametrize("density", [0.003, 0.1, 0.5, 0.97])
@pytest.mark.parametrize("seed", range(3))
def test_compressed_string_gives_the_very_mask_back(seed, density):
    mask = np.random.default_rng(seed).random((37, 53)) < density
    coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    runs = runs_of_counts(decode_counts(coded["counts"].decode()), width_px=53, height_px=37)
    assert (draw_region(Region("crack", "runs", runs), size_px=(37, 53)) == mask).all()


def test_long_counts_survive_their_letters():
    counts = [3_000_000, 1, 7_000_000, 2_999_999, 5]
    text = coco_mask.frPyObjects({"size": [3250, 4000], "counts": counts}, 3250, 4000)["counts"]
    assert decode_counts(text.decode()) == counts


@pytest.mark.parametrize(("counts", "runs"), [([0, 5, 3, 2], (0, 5, 8, 2)), ([10], ())])
def test_counts_begin_with_background(counts, runs):
    assert runs_of_counts(counts, width_px=2, height_px=5) == runs


@pytest.mark.parametrize("text", ["5 4", "ü", "~~~", "b6o", "o" * 40, "\x00"])
def test_letters_that_are_no_counts_are_refused(text):
    with pytest.raises(ValueError, match="run lengths"):
        decode_counts(text)


@pytest.mark.parametrize(
    ("exported", "names"),
    [
        ("images/1f2e3d4c-part-1.png", ["part-1.png"]),
        ("images\\1f2e3d4c-part.png", ["part.png"]),
        ("/data/local-files/?d=line%201/part.png", ["line 1/part.png", "part.png"]),
        ("http://host:8080/data/local-files/?d=line/part.png", ["line/part.png", "part.png"]),
        ("../srv/line/part.png", ["srv/line/part.png", "line/part.png", "part.png"]),
        *((name, []) for name in ("part.png", "images/part-1.png", "12345678/part.png", "")),
    ],
)
def test_images_that_label_studio_renamed_are_known_by_its_marks(exported, names):
    assert original_names(exported) == names
