"""Pixels and annotations share one frame, whichever way EXIF turns the image: what a viewer shows.

Every set holds one image of each orientation with a bright bar, drawn by a tool that saw the image
as shown or as stored. The bar must lie under its mask in what the manifest opens, or the image is
refused with the remedy.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import open_pair
from datamodules.decode import open_image, read_header
from datamodules.manifest import Manifest
from datamodules.preparing.copies import Changes
from datamodules.preparing.inspection import TURNED, inspect_all
from datamodules.preparing.preparation import Preparation, prepare
from datamodules.sources.coco import Coco
from datamodules.sources.folder import Folder
from datamodules.sources.merged import Merged
from experiments import predictor
from experiments.cli import call_command
from experiments.generation.jobs import find_inputs, list_jobs
from experiments.generation.prompts import Prompt
from experiments.predict import predict
from experiments.predictor import read_pixels
from tests.experiments.test_predict import FindsBrightPixels
from tests.families.turned_sets import (
    BAR,
    FRAMES,
    ORIENTATIONS,
    SIZES_PX,
    SOURCES,
    SUFFIXES,
    SWAPPED,
    TRUE,
    Painted,
    coco,
    paint,
    save,
)


def prepared(
    source: str, root: Path, *, size: str, frame: str, said: str, **more: object
) -> tuple[dict[str, Painted], Preparation]:
    """The images of a set as painted, and what came of preparing it."""
    parts = paint(size)
    for name, part in parts.items():
        part.save(root / "raw" / name)
    made = SOURCES[source][0](root / "raw", parts, frame, said)
    path = root / "out" / "manifest.parquet"
    done = prepare(made, root / "raw", path, max_bad_fraction=1.0, split_seed=1, **more)
    return parts, done


def check_bars(manifest: Manifest, *, size: str) -> None:
    """Nothing, where every bar lies under its mask and sizes are those that a viewer shows."""
    for row in range(len(manifest)):
        record = manifest[row]
        pixels, ids = open_pair(record, manifest.root, vocabulary=manifest.vocabulary)
        assert ids is not None and ids.any(), record.image
        assert pixels[ids > 0].mean() > 240 and pixels[ids == 0].mean() < 100, record.image
        assert (record.height_px, record.width_px) == pixels.shape[:2] == SIZES_PX[size]
        assert record.caption.location.startswith("the top")


# Sets whose size tells one frame and that are said to be drawn in the other are refused, see below.
CASES = [(one, frame) for one in SOURCES for frame in FRAMES if (one, frame) != (TRUE, "stored")]
CASES.remove((SWAPPED, "shown"))


@pytest.mark.parametrize("size", SIZES_PX)
@pytest.mark.parametrize("is_said", [False, True])
@pytest.mark.parametrize(("source", "frame"), CASES)
def test_bar_lies_under_its_mask_or_is_refused(source, is_said, frame, size, tmp_path):
    said = frame if is_said else ""
    parts, done = prepared(source, tmp_path, size=size, frame=frame, said=said)
    check_bars(done.manifest, size=size)
    is_proven = size == "wide" and frame in SOURCES[source][1]
    known = {n for n, p in parts.items() if p.orientation == 1 or is_said}
    known |= {n for n, p in parts.items() if p.orientation >= 5 and is_proven}
    assert {Path(name).name for name in done.manifest.column("image")} == {
        Path(name).name for name in known
    }
    assert all("--source.frame" in one.reason for one in done.unusable)
    assert done.notes[TURNED] == len(known) - 1


@pytest.mark.parametrize("size", SIZES_PX)
@pytest.mark.parametrize(("source", "frame"), CASES)
def test_upright_copies_have_no_tag_and_their_annotation(source, frame, size, tmp_path):
    changes = Changes(make_upright=True)
    more = {"size": size, "frame": frame, "said": frame, "changes": changes}
    parts, done = prepared(source, tmp_path, **more)
    check_bars(done.manifest, size=size)
    assert len(done.manifest) == len(parts)
    for image in done.manifest.column("image"):
        with Image.open(done.manifest.root / image) as copy:
            assert (copy.size[::-1], dict(copy.getexif())) == (SIZES_PX[size], {})


@pytest.mark.parametrize(("source", "frame"), [(TRUE, "stored"), (SWAPPED, "shown")])
def test_size_that_contradicts_what_is_said_is_refused(source, frame, tmp_path):
    _, done = prepared(source, tmp_path, size="wide", frame=frame, said=frame)
    assert [Path(one.image).stem for one in done.unusable] == ["5", "6", "7", "8"]
    assert all(f"expected its size as {frame}" in one.reason for one in done.unusable)


def test_size_that_label_studio_tells_of_a_turned_image_proves_nothing(tmp_path):
    _, done = prepared(SWAPPED, tmp_path, size="wide", frame="stored", said="")
    assert len(done.manifest) == 1 and len(done.unusable) == 7


@pytest.mark.parametrize("changes", [None, Changes(longest_side_px=32)])
@pytest.mark.parametrize("frame", FRAMES)
def test_outline_without_a_pixel_marks_nothing_when_it_is_moved(frame, changes, tmp_path):
    parts = paint("wide")
    for name, part in parts.items():
        part.save(tmp_path / "raw" / name)
    thin = coco(lambda part, frame: [[3.1, 3.1, 3.3, 3.1, 3.2, 3.3]])
    source = thin(tmp_path / "raw", parts, frame, frame)
    done = prepare(source, tmp_path / "raw", tmp_path / "manifest.parquet", changes=changes)
    for row in range(len(done.manifest)):
        manifest = done.manifest
        _, ids = open_pair(manifest[row], manifest.root, vocabulary=manifest.vocabulary)
        assert ids is None or not ids.any()


@pytest.mark.parametrize("size", SIZES_PX)
@pytest.mark.parametrize("said", ["", *FRAMES])
def test_mask_that_is_tagged_as_its_image_is_turned_alike(said, size, tmp_path):
    for number in ORIENTATIONS:
        part = Painted(number, size)
        part.save(tmp_path / f"raw/images/pit/{number}.jpg")
        save(tmp_path / f"raw/masks/pit/{number}.png", part.mask["stored"], number)
    done = prepare(Folder(frame=said), tmp_path / "raw", tmp_path / "manifest.parquet")
    assert len(done.manifest) == len(ORIENTATIONS)
    check_bars(done.manifest, size=size)


@pytest.mark.parametrize("make", [Folder, Coco])
def test_image_without_a_drawn_place_needs_no_frame(make, tmp_path):
    parts = paint("wide")
    for name, part in parts.items():
        part.save(tmp_path / "raw" / name)
    if make is Coco:
        coco(lambda part, frame: [], "stored")(tmp_path / "raw", parts, "stored", "")
        file = tmp_path / "raw/annotations/a.json"
        content = json.loads(file.read_text())
        content["annotations"] = [one | {"bbox": []} for one in content["annotations"]]
        file.write_text(json.dumps(content))
    done = prepare(make(), tmp_path / "raw", tmp_path / "manifest.parquet")
    assert not done.unusable and set(done.manifest.column("width_px")) == {64}
    assert set(done.manifest.column("height_px")) == {40}


@pytest.mark.parametrize("source", ["folder masks", "coco boxes", "yolo"])
@pytest.mark.parametrize("frame", FRAMES)
def test_what_was_prepared_stays_in_its_frame(source, frame, tmp_path):
    words = {"size": "wide", "frame": frame, "said": frame}
    _, done = prepared(source, tmp_path, **words)
    records = [done.manifest[row] for row in range(len(done.manifest))]
    seen = inspect_all(records, done.manifest.root, kept_in=tmp_path)
    assert [one.problem for one in seen] == [""] * len(seen)
    merged = Merged([str(done.manifest.path)])
    again = prepare(merged, tmp_path, tmp_path / "all" / "manifest.parquet")
    check_bars(again.manifest, size="wide")


@pytest.mark.parametrize("source", ["folder masks", "coco boxes", "coco runs"])
@pytest.mark.parametrize("frame", FRAMES)
def test_tiles_and_smaller_copies_are_cut_of_what_is_shown(source, frame, tmp_path):
    words = {"size": "wide", "frame": frame, "said": frame}
    _, done = prepared(source, tmp_path / "tiles", **words, tiling_px=(32, 0))
    assert len(done.manifest) == 8 * 4
    bright = [seen_bar(done.manifest, row) for row in range(len(done.manifest))]
    assert sum(bright) >= 8 * 2
    small = Changes(longest_side_px=32)
    _, done = prepared(source, tmp_path / "small", **words, changes=small)
    assert all(seen_bar(done.manifest, row) for row in range(len(done.manifest)))
    assert set(done.manifest.column("width_px")) == {32}


def seen_bar(manifest: Manifest, row: int) -> bool:
    """Whether a row's image shows the bar; where it does, so does its mask, and nowhere else."""
    pixels, ids = open_pair(manifest[row], manifest.root, vocabulary=manifest.vocabulary)
    assert ids is not None and np.mean((pixels > 170) == (ids > 0)) > 0.93
    return bool((pixels > 170).any())


def test_redactions_are_in_the_pixels_that_a_viewer_shows(tmp_path):
    boxes = dict.fromkeys(paint("wide"), ((22, 6, 20, 8),))
    changes = Changes(redactions=boxes)
    words = {"size": "wide", "frame": "shown", "said": "shown", "changes": changes}
    _, done = prepared("folder masks", tmp_path, **words)
    for image in done.manifest.column("image"):
        assert open_image(done.manifest.root / image).max() < 150
    words |= {"said": "", "frame": "stored"}
    _, done = prepared("folder masks", tmp_path / "unsaid", **words)
    assert len(done.manifest) == 1 and "as shown" in done.unusable[-1].reason


@pytest.mark.parametrize("number", ORIENTATIONS)
def test_tag_behind_the_pixels_of_a_png_counts_too(number, tmp_path):
    part, (early, late) = Painted(number, "wide"), (tmp_path / "early.png", tmp_path / "late.png")
    save(early, part.pixels["stored"], number)
    data = early.read_bytes()
    if number > 1:
        start = data.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        data = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    late.write_bytes(data)
    assert read_header(late).orientation == number
    with Image.open(late) as image:
        assert np.array_equal(read_pixels(image), open_image(late))
    assert np.array_equal(open_image(late)[:, :, 0], part.pixels["shown"])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16", "1", "P", "CMYK"])
def test_image_is_read_as_a_viewer_shows_it_in_every_format_and_mode(mode, suffix, tmp_path):
    if (mode in ("I;16", "1", "P") and suffix in ("jpg", "webp")) or (
        mode == "CMYK" and suffix in ("png", "webp")
    ):
        return  # which the format does not have
    for number in ORIENTATIONS:
        part = Painted(number, "wide")
        stored = Image.fromarray(part.pixels["stored"])
        if mode == "I;16":
            stored = Image.fromarray(part.pixels["stored"].astype(np.uint16) * 200)
        elif mode != "L":
            stored = stored.convert(mode)
        path, exif = tmp_path / f"{number}.{suffix}", Image.Exif()
        exif[0x0112] = number
        stored.save(path, exif=exif)
        seen = open_image(path)
        assert seen.shape == (40, 64, 3) and read_header(path).shown_px == (64, 40)
        outside = part.mask["shown"] == 0
        assert seen[~outside].mean() > 190 > 120 > seen[outside].mean()
        # Pillow itself mixes up the sides of raw TIFFs that it maps.
        if mode != "I;16" and suffix != "tif":
            with Image.open(path) as image:
                assert np.abs(read_pixels(image).astype(int) - seen).max() <= 1


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0MM\0*\0\0\0\x08\0\xff"])
def test_broken_exif_turns_nothing(exif, tmp_path):
    Image.fromarray(Painted(1, "wide").pixels["shown"]).save(tmp_path / "a.jpg", exif=exif)
    assert read_header(tmp_path / "a.jpg").orientation == 1
    assert open_image(tmp_path / "a.jpg").shape == (40, 64, 3)


def test_results_and_exports_are_in_the_pixels_that_a_viewer_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "load_stage", lambda checkpoint: FindsBrightPixels())
    for name, part in paint("wide").items():
        part.save(tmp_path / Path(name).name)
    words = ["--checkpoint", "RUN", "--images", tmp_path, "--out", tmp_path / "out"]
    tools = ["--device", "cpu", "--export", "cvat", "label_studio"]
    assert call_command(predict, [*map(str, words), *tools]) == 0
    for number in ORIENTATIONS:
        for kind in ("labels", "overlays"):
            assert Image.open(tmp_path / f"out/{kind}/{number}.png").size == (64, 40)
        ids = np.asarray(Image.open(tmp_path / f"out/labels/{number}.png"))
        assert (ids[BAR] == 1).mean() > 0.95 and ids.sum() < 200
    (exported,) = (tmp_path / "out/cvat/annotations").glob("*.json")
    for file in (tmp_path / "out/predictions.json", exported):
        images = json.loads(file.read_text())["images"]
        assert {(one["width"], one["height"]) for one in images} == {(64, 40)}
    tasks = json.loads((tmp_path / "out/label_studio/tasks.json").read_text())
    for task in tasks:
        result = task["predictions"][0]["result"][0]
        assert (result["original_width"], result["original_height"]) == (64, 40)
        centre = np.mean(result["value"]["points"], axis=0)
        assert np.abs(centre - [50, 25]).max() < 5


@pytest.mark.parametrize("size", SIZES_PX)
@pytest.mark.parametrize("frame", FRAMES)
def test_defect_is_generated_where_the_mask_lies_or_refused(frame, size, tmp_path):
    for number in ORIENTATIONS:
        part = Painted(number, size)
        part.save(tmp_path / f"{number}/images/a.jpg")
        save(tmp_path / f"{number}/masks/a.png", part.mask[frame])
        folder = tmp_path / str(number)
        given = find_inputs(f"{folder}/images", None, f"{folder}/masks", draw_masks=False, seed=0)
        jobs = list_jobs(given, [Prompt("a pit", None, "pit")], [0], side_px=32, stride_px=8)
        if number == 1 or (size == "wide" and number >= 5 and frame == "shown"):
            job = next(jobs)
            assert job.image[job.mask].mean() > 240 and job.mask.mean() < 0.1
        else:
            with pytest.raises(ValueError, match=r"EXIF orientation|expected its image's"):
                next(jobs)
