"""Changed copies of images: what changes with them, and that originals stay."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import open_annotation
from datamodules.decode import open_image
from datamodules.preparing.copies import Changes, copy_all, copy_one, read_redactions
from datamodules.sample import Record, Region
from datamodules.vocabulary import Vocabulary
from tests.datamodules.conftest import TYPES, write_part

NAMES = Vocabulary.from_names(TYPES)
SECRET = "serial 4711"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def part(raw: Path) -> Record:
    return write_part(raw, 1)


def copied(record: Record, raw: Path, changes: Changes) -> tuple[Record, Path]:
    folder = raw.parent / changes.folder_name
    return copy_one(record, raw, folder, changes=changes), folder


def ids_of(record: Record, folder: Path) -> np.ndarray:
    size_px = open_image(folder / record.image).shape[:2]
    ids = open_annotation(record, folder, vocabulary=NAMES, image_size_px=size_px)
    assert ids is not None
    return ids


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_copy_without_metadata_has_the_same_pixels_and_mask(part, raw, suffix):
    exif = Image.Exif()
    exif[0x010E] = SECRET
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    part = replace(part, image=f"a.{suffix}", regions=(Region("crack", "polygon", (1, 2, 3, 4)),))
    Image.fromarray(pixels).save(raw / part.image, exif=exif)
    copy, folder = copied(part, raw, Changes(strip=True))
    assert SECRET.encode() in (raw / part.image).read_bytes()
    assert SECRET.encode() not in (folder / copy.image).read_bytes()
    assert np.array_equal(open_image(folder / copy.image), open_image(raw / part.image))
    assert np.array_equal(ids_of(copy, folder), ids_of(part, raw))
    assert copy.regions == part.regions


def test_large_image_shrinks_with_its_mask_and_small_ones_stay(part, raw):
    copy, folder = copied(part, raw, Changes(longest_side_px=30))
    assert open_image(folder / copy.image).shape == (20, 30, 3)
    assert abs(ids_of(copy, folder).mean() - ids_of(part, raw).mean()) < 0.02
    copy, folder = copied(part, raw, Changes(longest_side_px=60))
    assert open_image(folder / copy.image).shape == (40, 60, 3)


def test_thin_scratch_of_a_mask_survives_and_nothing_hides_what_is_small(raw, part):
    mask = np.zeros((40, 60), np.uint8)
    mask[20, 5:55] = 1  # a tenth of a pixel of the copy
    mask[2:38, 30:58] = np.where(mask[2:38, 30:58], 1, 2)
    Image.fromarray(mask).save(raw / part.mask)
    copy, folder = copied(part, raw, Changes(longest_side_px=6))
    ids = ids_of(copy, folder)
    assert ids.shape == (4, 6)
    assert ids.tolist() == [
        [0, 0, 0, 2, 2, 2],
        [0, 0, 0, 2, 2, 2],
        [1, 1, 1, 1, 1, 1],
        [0, 0, 0, 2, 2, 2],
    ]


def test_copy_of_a_mask_says_what_its_grey_values_mean_now(raw, part):
    changes = Changes(longest_side_px=30)
    first, folder = copied(part, raw, changes)
    turned = tuple(
        replace(value, name=other.name)
        for value, other in zip(part.mask_values, part.mask_values[::-1], strict=True)
    )
    second, _ = copied(replace(part, mask_values=turned), raw, changes)
    names = [
        {NAMES.names[k] for k in np.unique(ids_of(one, folder)) if k} for one in (first, second)
    ]
    assert names == [{"crack"}, {"stain"}]


def test_copy_of_a_good_mask_names_no_type(raw):
    part = replace(write_part(raw, 0), mask_values=())
    copy, _ = copied(part, raw, Changes(strip=True))
    assert [value.name for value in copy.mask_values] == ["good"]


@pytest.mark.parametrize(
    ("region", "moved"),
    [
        (Region("crack", "box", (4, 14, 10, 10)), Region("crack", "box", (2, 7, 5, 5))),
        # Thinner than a pixel of the copy, and still there.
        (Region("crack", "runs", (41, 1)), Region("crack", "runs", (0, 1))),
    ],
)
def test_regions_shrink_with_the_image(part, raw, region, moved):
    drawn = replace(part, mask="", regions=(region,))
    copy, _ = copied(drawn, raw, Changes(longest_side_px=30))
    assert copy.regions == (moved,)


def test_redacted_box_is_flat_and_the_rest_unchanged(part, raw):
    changes = Changes(redactions={part.image: ((30, 5, 20, 10),)})
    copy, folder = copied(part, raw, changes)
    before, after = open_image(raw / part.image), open_image(folder / copy.image)
    assert len(np.unique(after[5:15, 30:50])) == 1
    after[5:15, 30:50] = before[5:15, 30:50]
    assert np.array_equal(after, before)


def test_redaction_of_an_unknown_image_stops_the_work_and_one_outside_is_a_flaw(part, raw):
    unknown = Changes(redactions={"typo.png": ((0, 0, 5, 5),)})
    with pytest.raises(ValueError, match=r"'typo\.png', which is no image"):
        copy_all([part], raw, raw.parent / "copies", changes=unknown)
    copy, _ = copied(part, raw, Changes(redactions={part.image: ((90, 5, 20, 10),)}))
    assert "lies outside" in copy.flaw


def test_copy_is_made_again_only_where_the_original_changed(part, raw):
    changes = Changes(longest_side_px=30)
    copy, folder = copied(part, raw, changes)
    first = (folder / copy.image).stat()
    assert copied(part, raw, changes)[0] == copy
    assert (folder / copy.image).stat().st_ino == first.st_ino
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(raw / part.image)
    copy, folder = copied(part, raw, changes)
    assert not open_image(folder / copy.image).any()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected image, and each once"),
        ("image,left,top,width,height\na.png,1,2,3\n", "line 2: .* expected four numbers"),
        ("image,left,top,width,height\na.png,,,,\n", "line 2: expected a box"),
        ("image,left,top,width,height\na.png,1,2,nan,4\n", "finite numbers"),
        ("image,left,top,width,height\na.png,1,2,0,4\n", "positive"),
    ],
)
def test_bad_table_of_redactions_is_one_line(tmp_path, text, reason):
    (tmp_path / "redactions.csv").write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        read_redactions(str(tmp_path / "redactions.csv"))
    assert "\n" not in str(caught.value)


def test_boxes_of_an_image_are_gathered(tmp_path):
    table = tmp_path / "redactions.csv"
    table.write_text("image,left,top,width,height\na.png,1,2,3,4\na.png,5,6.5,7,8\n")
    assert read_redactions(str(table)) == {"a.png": ((1, 2, 3, 4), (5, 6, 7, 9))}
    assert read_redactions("") == {}
