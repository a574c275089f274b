"""A mask means what a person sees in it, however its file is written, through every door.

Each encoding writes the same square of 500 pixels; each door reads it as these 500 or refuses it.
"""

import json
from base64 import b64encode
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import open_pair
from datamodules.manifest import Source
from datamodules.preparing.copies import Changes, copy_all
from datamodules.preparing.inspection import Inspection, inspect, local_vocabulary
from datamodules.preparing.preparation import Preparation, note_negatives, prepare
from datamodules.sources.coco import read_coco
from datamodules.sources.csv import Csv
from datamodules.sources.folder import Folder
from datamodules.sources.labelme import Labelme
from datamodules.sources.mvtec_ad import MvtecAd
from experiments.generation.jobs import read_mask
from tests.datamodules.conftest import write_part
from tests.families.mask_encodings import (
    IDS_REFUSED,
    IDS_SEEN,
    REFUSED,
    SEEN,
    SIZE_PX,
    Write,
    classes,
    grey,
    square,
)


def write_set(write: Write, root: Path, images: list[str], masks: list[str]) -> None:
    """Images with their masks: two of squares, the last one of nothing."""
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        for path in (root / image, root / mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, SIZE_PX, dtype=np.uint8)
        Image.fromarray(pixels).save(root / image)
        inside = square(number) if number < 2 else np.zeros(SIZE_PX, bool)
        written = write(inside, root / mask)
        written.rename(root / mask)


def by_folder(write: Write, root: Path) -> Source:
    names = ["crack/a.png", "crack/b.png", "good/c.png"]
    write_set(write, root, [f"images/{n}" for n in names], [f"masks/{n}" for n in names])
    return Folder()


def by_untyped_folder(write: Write, root: Path) -> Source:
    names = ["a.png", "b.png", "c.png"]
    write_set(write, root, [f"images/{n}" for n in names], [f"masks/{n}" for n in names])
    return Folder()


def by_csv(write: Write, root: Path, types: tuple[str, ...] = ("crack", "crack", "good")) -> Source:
    names = ["a.png", "b.png", "c.png"]
    write_set(write, root, names, [f"m/{n}" for n in names])
    rows = [f"{n},./m/{n},{kind}" for n, kind in zip(names, types, strict=True)]
    (root / "records.csv").write_text("\n".join(["image,mask,type", *rows]))
    return Csv()


DOORS = {
    "folder": by_folder,
    "untyped folder": by_untyped_folder,
    "csv": by_csv,
    "untyped csv": partial(by_csv, types=("", "", "")),
}


def answers(source: Source, root: Path) -> list[int | str]:
    """Of each image how many pixels its mask marks, or why it is refused."""
    found: list[int | str] = []
    try:
        records = source.records(root)
    except ValueError as error:
        return [str(error)]
    for record in records:
        inspection = inspect(record, root)
        if inspection.problem:
            found.append(inspection.problem)
            continue
        found.append(marked(inspection, root))
    return found


def marked(inspection: Inspection, root: Path) -> int:
    """How many pixels the mask of an inspected image marks."""
    names = local_vocabulary(inspection.record)
    _, ids = open_pair(inspection.record, root, vocabulary=names)
    return -1 if ids is None else int(np.count_nonzero(ids))


@pytest.mark.parametrize("encoding", SEEN)
@pytest.mark.parametrize("door", DOORS)
def test_what_a_person_sees_is_the_defect(door: str, encoding: str, tmp_path: Path) -> None:
    source = DOORS[door](SEEN[encoding], tmp_path)
    assert answers(source, tmp_path) == [500, 500, 0]


@pytest.mark.parametrize("encoding", SEEN)
def test_generate_paints_where_a_person_sees_the_mask(encoding: str, tmp_path: Path) -> None:
    path = SEEN[encoding](square(), tmp_path / "m.png")
    assert np.count_nonzero(read_mask(path, SIZE_PX)) == 500


@pytest.mark.parametrize("encoding", ["L", "quantized", "white is zero, 1", "black on nothing"])
def test_public_sets_and_copies_read_masks_alike(encoding: str, tmp_path: Path) -> None:
    images = [f"bottle/test/broken/{name}.png" for name in "ab"]
    masks = [f"bottle/ground_truth/broken/{name}_mask.png" for name in "ab"]
    write_set(SEEN[encoding], tmp_path / "raw", images, masks)
    (tmp_path / "raw/bottle/train").mkdir()
    assert answers(MvtecAd(), tmp_path / "raw") == [500, 500]
    records = MvtecAd().records(tmp_path / "raw")
    changes = Changes(strip=True)
    copies = copy_all(records, tmp_path / "raw", tmp_path / "out", changes=changes)
    assert [marked(inspect(one, tmp_path / "out"), tmp_path / "out") for one in copies] == [500] * 2


IN_A_JSON = ["L", "0 and 1", "1", "quantized", "blue on black", "RGBA opaque", "black on nothing"]


@pytest.mark.parametrize("encoding", [*IN_A_JSON, "nothing"])
def test_mask_inside_a_labelme_json_is_read_alike(encoding: str, tmp_path: Path) -> None:
    inside = square() if encoding in SEEN else np.zeros(SIZE_PX, bool)
    coded = SEEN.get(encoding, grey)(inside, tmp_path / "m.png").read_bytes()
    (tmp_path / "m.png").rename(tmp_path / "a.png")
    mask = {"label": "crack", "shape_type": "mask", "points": [[0, 0], [95, 63]]}
    mask["mask"] = b64encode(coded).decode()
    size = {"imageWidth": 96, "imageHeight": 64}
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [mask], "imagePath": "a.png", **size}))
    (answer,) = answers(Labelme(), tmp_path)
    assert answer == 500 if encoding in SEEN else "marks nothing" in str(answer)


@pytest.mark.parametrize("encoding", REFUSED)
@pytest.mark.parametrize("door", DOORS)
def test_what_nobody_can_tell_is_refused_with_what_was_found(
    door: str, encoding: str, tmp_path: Path
) -> None:
    write, words = REFUSED[encoding]
    (tmp_path / "alone").mkdir()
    path = write(square(), tmp_path / "alone/m.png")
    lines = [str(one) for one in answers(DOORS[door](write, tmp_path), tmp_path)]
    with pytest.raises(ValueError, match="mask") as caught:
        read_mask(path, SIZE_PX)
    for line in (*lines[:2], str(caught.value)):
        assert words in line and "save it" in line and "\n" not in line


def by_ids(write: Write, root: Path) -> list[int | str]:
    by_csv(write, root, types=("", "", ""))
    return answers(Csv(mask_ids={"crack": 1, "dent": 2}), root)


@pytest.mark.parametrize("encoding", IDS_SEEN)
def test_ids_are_numbers_where_mask_ids_say_so(encoding: str, tmp_path: Path) -> None:
    assert by_ids(IDS_SEEN[encoding], tmp_path) == [500, 500, 0]


@pytest.mark.parametrize("encoding", IDS_REFUSED)
def test_ids_that_the_colours_contradict_are_refused(encoding: str, tmp_path: Path) -> None:
    write, words = IDS_REFUSED[encoding]
    assert all(words in str(line) for line in by_ids(write, tmp_path)[:2])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("first", "second", "thin", "words"),
    [
        (1, 2, False, "class ids"),
        (100, 30, True, "class ids"),
        (255, 1, False, "3 greys (0, 1, 255)"),
        (255, 128, True, "3 greys (0, 128, 255)"),
    ],
)
def test_classes_are_no_mask_of_one_defect(
    door: str, first: int, second: int, thin: bool, words: str, tmp_path: Path
) -> None:
    write = partial(classes, first=first, second=second, thin=thin)
    assert words in str(answers(DOORS[door](write, tmp_path), tmp_path)[0])


def test_user_may_say_up_to_which_grey_is_good(tmp_path: Path) -> None:
    by_csv(partial(classes, first=255, second=128), tmp_path)
    assert answers(Csv(largest_good_grey=200), tmp_path) == [500, 500, 0]
    assert answers(Csv(largest_good_grey=100), tmp_path) == [600, 600, 0]


@pytest.mark.parametrize("encoding", ["grey", "quantized"])
def test_user_may_say_that_black_is_the_defect(encoding: str, tmp_path: Path) -> None:
    write = SEEN["quantized"] if encoding == "quantized" else grey
    by_csv(lambda inside, path: write(~inside, path), tmp_path, types=("", "", ""))
    assert answers(Csv(mask_ids={"good": 255, "crack": 0}), tmp_path) == [500, 500, 0]


@pytest.mark.parametrize("numbers", [(-5, 0), (0, 70_000)])
def test_numbers_that_no_grey_has_are_refused(numbers: tuple[int, int], tmp_path: Path) -> None:
    good, defect = numbers
    write = partial(grey, good=good, defect=defect, dtype=np.int32, suffix=".tif")
    assert isinstance(answers(by_folder(write, tmp_path), tmp_path)[0], str)


@pytest.mark.parametrize("door", DOORS)
def test_ids_of_single_masks_are_found_in_all_of_them(door: str, tmp_path: Path) -> None:
    numbers = iter((1, 2, 0))
    source = DOORS[door](lambda *where: grey(*where, defect=next(numbers)), tmp_path)
    assert "class ids, no mask a value above 127 (all together 0, 1, 2)" in str(
        answers(source, tmp_path)
    )


@pytest.mark.parametrize("door", DOORS)
def test_dark_mask_among_bright_ones_is_refused_alone(door: str, tmp_path: Path) -> None:
    numbers = iter((255, 1, 0))
    source = DOORS[door](lambda *where: grey(*where, defect=next(numbers)), tmp_path)
    first, second, third = answers(source, tmp_path)
    assert (first, third) == (500, 0) and "only dark grey" in str(second)


@pytest.mark.parametrize("door", DOORS)
def test_mask_of_two_bright_greys_among_black_ones_is_refused(door: str, tmp_path: Path) -> None:
    numbers = iter((150, 0, 0))
    source = DOORS[door](lambda *where: grey(*where, good=next(numbers), defect=250), tmp_path)
    first, second, third = answers(source, tmp_path)
    assert "only bright grey" in str(first) and (second, third) == (500, 0)


@pytest.mark.parametrize("door", ["folder", "csv"])
def test_marked_mask_of_a_good_part_is_refused(door: str, tmp_path: Path) -> None:
    write = lambda inside, path: grey(inside | square(), path)  # noqa: E731
    assert "good, but its mask" in str(answers(DOORS[door](write, tmp_path), tmp_path)[2])


def prepared(source: Source, root: Path) -> Preparation:
    return prepare(source, root, root.parent / "out/m.parquet", copies="keep", workers=1)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "turned", [(False, True), (True, True), (False, False)], ids=["one of two", "all", "none"]
)
def test_mask_that_is_perhaps_a_negative_is_said(
    door: str, turned: tuple[bool, bool], tmp_path: Path
) -> None:
    flags = iter((*turned, False))
    source = DOORS[door](lambda inside, path: grey(inside ^ next(flags), path), tmp_path / "raw")
    notes = [
        f"{count} x {note}" for note, count in prepared(source, tmp_path / "raw").notes.items()
    ]
    assert len(notes) == any(turned)
    if notes:
        assert f"{sum(turned)} x more than 90% of an image is marked" in notes[0]
        assert notes[0].endswith("a.png" if turned[0] else "b.png")


def test_mask_is_perhaps_a_negative_sooner_where_others_mark_little(tmp_path: Path) -> None:
    records = [replace(write_part(tmp_path, 0), mask=f"{k}.png") for k in range(4)]
    shares = (0.1, 0.2, 0.8, 0.1)
    pairs = zip(records, shares, strict=True)
    (note,) = note_negatives([Inspection(one, marked_share=share) for one, share in pairs])
    assert "more than 75%" in note and note.endswith("2.png")
    assert not note_negatives([Inspection(one, marked_share=0.8) for one in records])


@pytest.mark.parametrize(
    ("ids", "defect", "names"),
    [
        ({"crack": 1, "hole": 3}, 1, ("good", "crack", "hole")),
        ({"crack": 1, "hole": 3}, 0, ("good", "crack", "hole")),
        (None, 1, ("good", "defect")),
        (None, 0, ("good",)),
    ],
)
def test_vocabulary_holds_all_that_a_mask_may_show(ids, defect, names, tmp_path: Path) -> None:
    by_csv(partial(grey, defect=defect), tmp_path / "raw", types=("", "", ""))
    manifest = prepared(Csv(mask_ids=ids), tmp_path / "raw").manifest
    assert manifest.vocabulary.names == names
    for row in range(len(manifest)):
        open_pair(manifest[row], manifest.root, vocabulary=manifest.vocabulary)


def test_panoptic_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    part = {"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 7, "category_id": 1}]}
    content = {"images": [], "annotations": [part], "categories": [{"id": 1, "name": "crack"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a\.json is panoptic.* expected COCO instances.*convert"):
        read_coco(tmp_path / "a.json", "a.json")
