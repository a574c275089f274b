"""Every file below a root is indexed, in quarantine or left over with a reason; most stay useful.

Over every source, with files dropped into its fake layout that a tool or a desktop leaves there.
"""

import csv
import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.about import source_names
from datamodules.file_walk import HIDDEN, IMAGE_SUFFIXES, image_paths
from datamodules.preparing.copies import Changes
from datamodules.preparing.inspection import inspect
from datamodules.preparing.leftovers import OWN, READ, Leftovers
from datamodules.preparing.preparation import prepare, read_source
from datamodules.sample import Record
from experiments import predictor
from experiments.cli import call_command
from experiments.inference.inputs import find_images
from experiments.predict import PARTIAL_CODE, predict
from tests.datamodules.sources.painting import save, texture
from tests.datamodules.sources.test_sources import NEEDS_NO_DATA, build, write
from tests.experiments.test_predict import FindsBrightPixels

FOUND_IN_ANY_CASE = ("coco", "csv", "folder", "imdd1m_release", "labelme", "yolo")
PNG_BYTES = b"\x89PNG\r\n\x1a\n" + bytes(20)
EXTRAS: dict[str, tuple[bytes, str]] = {
    "README.md": (b"about", "text, archive or document"),
    "a paper.pdf": (b"%PDF", "text, archive or document"),
    ".DS_Store": (b"", "hidden"),
    "photos/Thumbs.db": (b"", "hidden"),
    ".git/objects/a.png": (PNG_BYTES, "hidden"),
    "@eaDir/a.png": (PNG_BYTES, "hidden"),
    "photos/IMG_1.HEIC": (b"ftypheic", "no decoder for .heic"),
    "photos/no ending": (PNG_BYTES, "no decoder for an image"),
    "photos/a.png.part": (PNG_BYTES, "no decoder for an image"),
    "photos/orphan.png": (PNG_BYTES, ""),
    "labels/orphan.txt": (b"0 .5 .5 .2 .2", ""),
    "photos/orphan.json": (b"{}", ""),
}


def look(name: str, root: Path) -> tuple[list[Record], Leftovers]:
    return read_source(build(name), root, output=root.parent / "out")


def names_below(root: Path) -> set[str]:
    """All files, also those that linked folders show."""
    found = (
        Path(place, name) for place, _, names in os.walk(root, followlinks=True) for name in names
    )
    return {path.relative_to(root).as_posix() for path in found}


def labels_of(records: list[Record]) -> list[tuple[tuple[str, ...], bool, int, str]]:
    """What is said of the images, whatever their names are."""
    return sorted((r.defects, bool(r.mask), len(r.regions), r.split) for r in records)


@pytest.fixture(params=source_names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(name: str, tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    root.mkdir()
    write(name, root)
    return root


def test_each_file_is_named_by_a_record_or_left_over_with_its_reason(name, root):
    build(name).records(root)  # may render
    for path, (content, _) in EXTRAS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    os.mkfifo(root / "pipe.png")
    (root / "to a pipe").symlink_to("pipe.png")
    save(root.parent / "elsewhere/deep/linked.png", texture(3))
    for link in ("link", "second link"):
        (root / link).symlink_to(root.parent / "elsewhere")
    records, leftovers = look(name, root)
    named = {path for record in records for path in (record.image, record.mask)}
    files = names_below(root) - {"second link/deep/linked.png"} | {"second link"}
    assert files == (named & files) | leftovers.reasons.keys()
    assert not named & leftovers.reasons.keys()
    for path, (_, words) in EXTRAS.items():
        purposes = tuple(why for _, why in build(name).left_on_purpose)
        assert path in named or leftovers.reasons[path].startswith((words, *purposes))
    assert "link/deep/linked.png" in named | leftovers.reasons.keys()
    assert "pipe" in leftovers.reasons["pipe.png"]


def test_healthy_layouts_lose_nothing_and_leave_only_known_reasons(name, root):
    _, leftovers = look(name, root)
    leftovers.keep(root.parent / "m.parquet", 0)
    assert READ not in " ".join(leftovers.lines())  # what was read is no news
    kinds = {why.partition(": ")[0] for why in leftovers.reasons.values()}
    assert all(kinds), leftovers.reasons


def test_a_linked_folder_is_followed(name, root):
    if name in ("synthetic", "wm811k", "merged"):
        pytest.skip("has no folder of its own")
    records, leftovers = look(name, root)
    for number, folder in enumerate([path for path in root.iterdir() if path.is_dir()]):
        folder.rename(root.parent / f"elsewhere{number}")
        folder.symlink_to(root.parent / f"elsewhere{number}")
    assert look(name, root) == (records, leftovers)


def test_a_loop_of_links_is_one_line(name, root):
    folders = [path for path in root.iterdir() if path.is_dir()]
    ((folders or [root])[0] / "loop").symlink_to(root)
    with pytest.raises(
        ValueError, match="which holds it: expected no loop; remove the link"
    ) as error:
        look(name, root)
    assert "\n" not in str(error.value)


def swap_case(root: Path) -> None:
    """All names below the root in the other case, as some tools unpack them."""
    for place, folders, names in os.walk(root, topdown=False):
        for old in (*folders, *names):
            Path(place, old).rename(Path(place, old.swapcase()))


def decompose(root: Path) -> None:
    """All names below the root as a Mac writes them."""
    for place, folders, names in os.walk(root, topdown=False):
        for old in (*folders, *names):
            Path(place, old).rename(Path(place, unicodedata.normalize("NFD", old)))


@pytest.mark.parametrize("change", [swap_case, decompose])
def test_names_in_another_case_or_form_are_found_or_end_in_one_line(name, root, change):
    if name in (*NEEDS_NO_DATA, "merged"):
        pytest.skip("spells its own names")
    records, _ = look(name, root)
    change(root)
    if change is swap_case and name not in FOUND_IN_ANY_CASE:
        with pytest.raises((ValueError, FileNotFoundError), match="expected") as error:
            look(name, root)[1].keep(root.parent / "m.parquet", 0.05)
        assert "\n" not in str(error.value)
        return
    found, leftovers = look(name, root)
    leftovers.keep(root.parent / "m.parquet", 0)
    assert labels_of(found) == labels_of(records)
    assert [problem for record in found if (problem := inspect(record, root).problem)] == []


@pytest.mark.parametrize("name", ["folder"])
def test_copies_never_lie_among_their_originals(name, root):
    changes = Changes(strip=True)
    with pytest.raises(ValueError, match="choose an --out outside --root"):
        prepare(build(name), root, root / "out/manifest.parquet", changes=changes)
    assert not list(root.glob("out/images*"))


@pytest.mark.parametrize("name", ["coco"])
def test_why_records_are_unusable_is_said_before_what_they_leave_over(name, root):
    for path in (root / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        for entry in content["images"]:
            entry["file_name"] = f"lost/{entry['file_name']}.tif"
        path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"images are unusable.*is missing"):
        prepare(build(name), root, root.parent / "out/manifest.parquet")


@pytest.mark.parametrize(
    ("name", "lost", "words"),
    [
        ("folder", "spare/a.png", r"\(image outside images/ and masks/\): name"),
        ("folder", "images/crack/a.heic", r"no decoder for \.heic"),
        ("csv", "spare.png", r"spare\.png \(image that no row names\)"),
        ("coco", "images/train/spare.png", "image that no annotation names"),
        ("yolo", "images/spare/a.png", r"image outside the splits of data\.yaml"),
        ("yolo", "labels/train/spare.txt", r"1 of 5 label files .* claims\): add their"),
        ("yolo", "Labels/spare.TXT", "label file that no image claims"),
        ("deeppcb", "PCBData/group12000/12000_not/1.txt", "1 of 4 label files"),
        ("mtd", "MT_Crack/Imgs/exp1_num_9.webp", "image that no annotation names"),
    ],
)  # fmt: skip
def test_more_than_a_small_share_stops_with_a_remedy(name, root, lost, words):
    (root / lost).parent.mkdir(parents=True, exist_ok=True)
    (root / lost).write_bytes(PNG_BYTES)
    out = root.parent / "out"
    with pytest.raises(ValueError, match=words) as error:
        prepare(build(name), root, out / "m.parquet", copies="keep")
    assert "\n" not in str(error.value) and not (out / "m.parquet").exists()
    assert lost in (out / "m.leftovers.csv").read_text(encoding="utf-8")
    done = prepare(build(name), root, out / "m.parquet", copies="keep", max_leftover_fraction=1.0)
    assert lost in done.leftovers.reasons


def test_files_that_prepare_wrote_below_the_root_are_no_leftovers(tmp_path):
    write("labelme", tmp_path)
    for _ in range(2):
        done = prepare(build("labelme"), tmp_path, tmp_path / "out/m.parquet", copies="keep")
    assert set(done.leftovers.reasons.values()) == {READ, HIDDEN, OWN}


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("train/images/a.png", "train/images/a.txt"),
        ("Images/train/a.png", "Labels/train/a.txt"),
        ("images/train/a.png", "labels/train/A.TXT"),
        ("images/train/a.JFIF", "labels/train/a.txt"),
    ],
)
def test_yolo_labels_are_found_beside_the_image_and_in_any_case(tmp_path, image, label):
    save(tmp_path / "was.png", texture(1))
    for path, content in (
        (image, (tmp_path / "was.png").read_bytes()),
        (label, b"0 .5 .5 .2 .2"),
        ("data.yaml", f"train: {Path(image).parent}\nnames: [hole]\n".encode()),
    ):
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / path).write_bytes(content)
    records, leftovers = look("yolo", tmp_path / "raw")
    assert [record.defects for record in records] == [("hole",)]
    assert set(leftovers.reasons) == {label, "data.yaml"}


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_images_of_every_ending_are_read_and_cut_ones_are_named(tmp_path, suffix):
    path = tmp_path / f"raw/images/crack/a{suffix.upper()}"
    path.parent.mkdir(parents=True)
    kind = Image.registered_extensions()[suffix]
    Image.fromarray(texture(1).astype(np.uint8)).convert("RGB").save(path, format=kind)
    (record,), leftovers = look("folder", tmp_path / "raw")
    assert (inspect(record, tmp_path / "raw").problem, leftovers.reasons) == ("", {})
    path.write_bytes(path.read_bytes()[:-40])
    assert "is not a readable image" in inspect(record, tmp_path / "raw").problem


def test_an_image_by_two_ways_counts_once(tmp_path):
    for name in ("pool/a.png", "images/b.png"):
        save(tmp_path / name, texture(1))
    (tmp_path / "images/pool").symlink_to(tmp_path / "pool")
    assert image_paths(tmp_path) == [tmp_path / "images/b.png", tmp_path / "pool/a.png"]
    assert image_paths(tmp_path / "images")[1:] == [tmp_path / "images/pool/a.png"]


def test_images_that_cannot_be_read_are_logged_at_every_door(tmp_path, caplog):
    (tmp_path / "a.heic").write_bytes(b"ftypheic")
    assert image_paths(tmp_path) == []
    assert "1 x no decoder for .heic, the first is a.heic" in caplog.text


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two good images, a cut one, one without decoder, a hidden one and a text."""
    monkeypatch.setattr(predictor, "load_stage", lambda checkpoint: FindsBrightPixels())
    folder = tmp_path / "parts"
    for name in ("a.png", "deep/b.PGM", "cut.jpg"):
        save(folder / name, texture(1))
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-20])
    for name in ("c.heic", ".d.png", "notes.txt"):
        (folder / name).write_bytes(b"nothing")
    return folder


def answer(images: Path | str, out: Path) -> int:
    words = ["--checkpoint", "RUN", "--images", str(images), "--out", str(out), "--device", "cpu"]
    return call_command(predict, words)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_unreadable_image_costs_one_answer_and_is_named(parts, tmp_path, capsys):
    assert answer(parts, tmp_path / "out") == PARTIAL_CODE
    rows = rows_of(tmp_path / "out/answers.csv")
    assert [row["image"] for row in rows] == ["a.png", "deep/b.PGM"]
    coco = json.loads((tmp_path / "out/predictions.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in coco["images"]] == ["a.png", "deep/b.PGM"]
    left_out = {row["file"]: row["reason"] for row in rows_of(tmp_path / "out/left_out.csv")}
    assert left_out.keys() == {"cut.jpg", "c.heic", ".d.png", "notes.txt"}
    assert left_out["cut.jpg"].startswith("unreadable: ") and "truncated" in left_out["cut.jpg"]
    printed = capsys.readouterr()
    assert "left out: 1 x no decoder for .heic, the first is c.heic" in printed.err
    assert "left out: 1 x unreadable, the first is cut.jpg" in printed.err
    assert "cut.jpg" in printed.out and "1 x hidden" in printed.err


def test_a_whole_folder_ends_with_code_0_and_without_a_list(parts, tmp_path, capsys):
    for name in ("cut.jpg", "c.heic"):
        (parts / name).unlink()
    page = Image.open(parts / "a.png").copy()
    page.save(parts / "pages.tif", save_all=True, append_images=[page])
    assert answer(parts, tmp_path / "out") == 0
    assert not (tmp_path / "out/left_out.csv").exists()
    said = capsys.readouterr().err
    assert "text, archive or document, the first is notes.txt" in said
    assert "1 x pages or frames after the first of an image, the first is pages.tif" in said


def test_where_no_image_can_be_read_there_is_one_line_and_nothing_else(parts, tmp_path):
    for name in ("a.png", "deep/b.PGM"):
        (parts / name).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a readable image"):
        answer(parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pattern", ["", "*", "**/*"])
def test_every_door_names_what_it_leaves_out_and_takes_each_image_once(parts, tmp_path, pattern):
    (parts / "deep/again").symlink_to(parts.parent / "elsewhere")
    save(tmp_path / "elsewhere/e.png", texture(2))
    (parts / "link").symlink_to(parts / "deep")
    found, left_out = find_images(str(parts / pattern))
    seen = {path.relative_to(parts).as_posix() for path in (image.path for image in found)}
    assert {"a.png", "cut.jpg"} <= seen and len({image.path.resolve() for image in found}) == len(
        found
    )
    assert ("deep/b.PGM" in seen) == (pattern != "*")
    reasons = {Path(path).name: why for path, why in left_out.items()}
    assert "no decoder for .heic" in reasons["c.heic"] and "notes.txt" in reasons
    assert pattern != "*" or reasons["deep"] == "folder, which a glob does not enter"
