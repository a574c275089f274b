"""Holds names by example from the folder of examples to predict's answers, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.captions import Caption
from datamodules.manifest import write_manifest
from datamodules.sample import Instance, Prediction, Record, Region
from datamodules.sources.folder import Folder
from datamodules.vocabulary import Vocabulary
from experiments import predictor
from experiments.checkpoints import load_any
from experiments.cli import call_command
from experiments.export import export
from experiments.inference import examples as module
from experiments.inference.examples import (
    NEW_WORDS_RIGHT,
    NamesByExample,
    example_images,
    join,
    read_gallery,
    regions_of,
    spread,
    trusted,
)
from experiments.predict import predict
from experiments.predictor import Predictor, load_predictor
from lightning_modules.nets import region_embedding
from lightning_modules.nets.gallery import Gallery
from lightning_modules.nets.post_processing import OperatingPoints
from lightning_modules.nets.region_embedding import RegionEmbedding
from lightning_modules.weights_io import MANIFEST_NAME
from tests.experiments.small_stages import write_run
from tests.experiments.test_predict import FindsBrightPixels
from tests.lightning_modules.small_weights import NET, save_net


@pytest.fixture
def embed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegionEmbedding:
    """A small encoder, which stands for the known one."""
    save_net(tmp_path)
    embed = RegionEmbedding(str(tmp_path / "net.safetensors"), NET, side_px=32)
    monkeypatch.setattr(predictor, "RegionEmbedding", lambda weights: embed)
    monkeypatch.setattr(predictor, "load_stage", lambda checkpoint: FindsBrightPixels())
    return embed


def draw(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (64, 64, 3) with a bright plain or striped defect, and its mask."""
    pixels = np.random.default_rng(seed).integers(40, 80, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[20:40, 16:44] = 255
    pixels[20:40, 16:44] = 250
    if kind == "striped":
        pixels[20:40:4, 16:44] = pixels[21:40:4, 16:44] = (250, 190, 200)
    return pixels, mask


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Three images of each of two names, one in capitals, with masks."""
    for name in ("Plain", "striped"):
        for index in range(3):
            for kind, pixels in zip(("images", "masks"), draw(name.lower(), index), strict=True):
                folder = tmp_path / "examples" / kind / name
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "examples"


def run(examples: Path, images: Path, out: Path, *more: str) -> int:
    words = ["--checkpoint", "RUN", "--images", str(images), "--out", str(out), "--device", "cpu"]
    return call_command(predict, [*words, "--examples", str(examples), *more])


def test_regions_are_named_by_examples_instead_of_words(
    embed: RegionEmbedding, examples: Path
) -> None:
    door = Predictor(FindsBrightPixels())  # type: ignore[arg-type]
    door.use_examples(examples)
    assert door.vocabulary.names == ("good", "plain", "striped", "unknown")
    for kind in ("plain", "striped"):
        result = door.predict(draw(kind, 9)[0])
        assert result.instances[0].name == result.name == kind
        assert set(np.unique(result.label_map)) == {0, result.instances[0].class_id}
        assert result.type_scores.sum() == pytest.approx(1)
    door.use_examples(None)
    assert door.predict(draw("plain", 9)[0]).name == "pit"


def test_one_gallery_serves_the_next_run_and_shared_images_are_said(
    embed: RegionEmbedding, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = examples / "images"
    assert run(examples, images, tmp_path / "first") == 0
    assert "6 of the images are examples themselves" in capsys.readouterr().err
    assert run(tmp_path / "first" / "gallery", images, tmp_path / "second") == 0
    assert "are examples" not in capsys.readouterr().err
    tables = [(tmp_path / name / "answers.csv").read_text() for name in ("first", "second")]
    assert tables[0] == tables[1] and "striped" in tables[0]
    assert example_images(tmp_path / "first" / "gallery") == set()


def test_words_and_examples_of_one_name_are_joined(embed: RegionEmbedding, examples: Path) -> None:
    gallery = read_gallery(examples, embed)
    pixels, mask = draw("striped", 9)
    image = torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1
    region = torch.from_numpy(mask > 0)
    words = Vocabulary.parse("dent, Striped; hole")
    found = Prediction(
        label_map=region.long() * 2,
        anomaly_map=region.float(),
        image_score=1.0,
        type_scores=torch.tensor([0.2, 0.3, 0.5]),
        type_id=2,
        type_map=torch.full(region.shape, 2),
        instances=[Instance(2, 0.9, region, (16, 20, 28, 20), ((1, 0.4),))],
    )
    naming = NamesByExample(embed, gallery, words, torch.full((3,), 0.1))
    assert naming.vocabulary.names == ("good", "dent", "hole", "plain")
    sure = replace(naming, right=torch.full((3,), 0.95))
    assert sure.shares(image, [replace(found.instances[0], runners_up=())]).argmax() == 2
    renamed = naming.rename(image, found)
    assert renamed.type_id == renamed.instances[0].class_id == 1
    assert renamed.type_scores[0] == pytest.approx(0.2)


def test_join_weighs_words_and_examples_by_how_often_they_are_right() -> None:
    """Of good, a name with both, one with words alone and one with examples alone; by hand."""
    by_words, by_examples = torch.tensor([[[0, 0.25, 0.75, 0]], [[0, 0.2, 0, 0.8]]])
    right = torch.tensor([0.5, 0.5, 0.5, 0])
    found = join(by_words, by_examples, right=right, is_unknown=torch.tensor([False]))
    odds = torch.tensor([0, 0.75 * 1.75 * 0.43, 1.25, 1.75 * 1.57])
    torch.testing.assert_close(found[0], odds / odds.sum())
    found = join(by_words, by_examples, right=right, is_unknown=torch.tensor([True]))
    assert found[0].argmax() == 2


def test_words_are_trusted_as_the_thresholds_say_and_new_ones_less() -> None:
    stage, trained = FindsBrightPixels(), Vocabulary.parse("pit, hole; burr")
    stage.post_processing.calibrate(OperatingPoints(names_right=0.9))
    right = trusted(Vocabulary.parse("scratch; hole"), stage, trained)  # type: ignore[arg-type]
    torch.testing.assert_close(right[1:], torch.tensor([NEW_WORDS_RIGHT, 0.9]))


def test_words_that_examples_have_too_are_one_name(embed: RegionEmbedding, examples: Path) -> None:
    door = Predictor(FindsBrightPixels())  # type: ignore[arg-type]
    door.use_examples(examples)
    door.use_labels("dent; PLAIN, even")
    assert door.vocabulary.names == ("good", "dent", "plain", "striped")


def test_examples_of_synonyms_speak_for_one_name(seed: int) -> None:
    centres, names = torch.eye(8) * 4, ("scratch", "scuff", "crack")
    vectors = {n: centres[i] + 0.1 * torch.randn(5, 1, 8) for i, n in enumerate(names)}
    gallery, words = Gallery("", vectors), Vocabulary.parse("crack; scratch, scuff")
    shares = spread(gallery.name_regions(centres[:3]), gallery, words)
    assert shares.argmax(dim=1).tolist() == [2, 2, 1]
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))


def test_a_name_with_examples_cannot_be_none_too(embed: RegionEmbedding, examples: Path) -> None:
    door = Predictor(FindsBrightPixels())  # type: ignore[arg-type]
    door.use_examples(examples)
    with pytest.raises(ValueError, match="say 'not plain', and there are examples of 'plain': lea"):
        door.predict(draw("plain", 9)[0], "dent; not plain")


@pytest.mark.parametrize("name", ["Plain", "plain_", " PLAIN"])
def test_an_added_example_has_its_name_in_any_spelling(
    embed: RegionEmbedding, examples: Path, name: str
) -> None:
    door = Predictor(FindsBrightPixels())  # type: ignore[arg-type]
    door.use_examples(examples)
    pixels, mask = draw("plain", 9)
    door.add_example(pixels, mask, name)
    assert door.gallery is not None and len(door.gallery.vectors["plain"]) == 4
    assert door.predict(pixels).instances[0].name == "plain"
    assert door.vocabulary.names == ("good", "plain", "striped", "unknown")  # as before


@pytest.mark.parametrize(
    ("name", "mask", "line"),
    [
        ("Unknown", np.ones((64, 64), bool), "got an example of 'Unknown': expected the name"),
        ("OK", np.ones((64, 64), bool), "got an example of 'OK': expected the name of a defect"),
        ("pit", np.zeros((64, 64), bool), r"mask \(64, 64\) with 0 pixels, expected one pixel"),
        ("pit", np.ones((32, 64), bool), r"mask \(32, 64\) with 2048 .* or more of \(64, 64\)"),
    ],
)
def test_what_is_no_example_is_one_line(
    embed: RegionEmbedding, name: str, mask: np.ndarray, line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        Predictor(FindsBrightPixels()).add_example(draw("plain", 0)[0], mask, name)  # type: ignore[arg-type]


def test_folders_that_differ_in_case_are_one_name(embed: RegionEmbedding, examples: Path) -> None:
    for kind in ("images", "masks"):
        (examples / kind / "plain").mkdir()
        moved = examples / kind / "Plain" / "0.png"
        moved.rename(examples / kind / "plain" / "0.png")
    gallery = read_gallery(examples, embed)
    assert {name: len(one) for name, one in gallery.vectors.items()} == {"plain": 3, "striped": 3}


def test_one_image_of_a_name_is_enough_but_said(
    embed: RegionEmbedding, examples: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("images", "masks"):
        for index in (1, 2):
            (examples / kind / "striped" / f"{index}.png").unlink()
    door = Predictor(FindsBrightPixels())  # type: ignore[arg-type]
    door.use_examples(examples)
    assert "'striped' has one example: three or more name far better" in caplog.text
    assert door.predict(draw("striped", 9)[0]).instances[0].name in ("striped", "unknown")


def test_boxes_of_a_manifest_are_examples(embed: RegionEmbedding, examples: Path) -> None:
    """Also where they overlap, which a map of class ids could not hold; training images alone."""

    def boxed(name: str, index: int, split: str) -> Record:
        image = f"images/{name}/{index}.png"
        regions = [Region(name.lower(), "box", (16.0, y, 28.0, 20.0)) for y in (20.0, 25.0)]
        caption = Caption("part", "", name.lower(), "", "", "")
        record = Record(image, "", (), (name.lower(),), caption, image, "boxes", split)
        return replace(record, regions=tuple(regions), width_px=64, height_px=64, frame="shown")

    records = [boxed(name, index, "train") for name in ("Plain", "striped") for index in (0, 1)]
    records.append(boxed("striped", 2, "test"))
    names = Vocabulary.from_names(["plain", "striped"])
    file = examples / "manifest.parquet"
    write_manifest(file, records, root=examples, vocabulary=names, source="boxes", leaks=0)
    gallery = read_gallery(file, embed)
    assert {name: len(one) for name, one in gallery.vectors.items()} == {"plain": 4, "striped": 4}
    pixels = torch.from_numpy(draw("plain", 0)[0]).permute(2, 0, 1) / 127.5 - 1
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[20:40, 16:44] = True
    torch.testing.assert_close(gallery.vectors["plain"][0], embed(pixels, [mask], 8)[0])


def test_boxes_are_numbered_by_name_and_a_set_is_not_opened_to_its_end(
    examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two examples of each name are the first boxes of two images; the third stays closed."""
    names, box = ("plain", "plain", "striped", "striped"), (16.0, 20.0, 28.0, 20.0)
    regions = tuple(Region(name, "box", box) for name in names)
    record = replace(Folder().records(examples)[0], mask="", regions=regions, defects=names[1:3])
    known, opened = Vocabulary.from_names(["plain", "striped"]), []
    orders = [(name, order) for _, name, _, order in regions_of(record, examples, known)]
    assert orders == [("plain", 0), ("plain", 1), ("striped", 0), ("striped", 1)]
    monkeypatch.setattr(module, "MOST_EXAMPLES", 2)
    monkeypatch.setattr(module, "regions_of", lambda *one: opened.append(1) or regions_of(*one))
    chosen, counts = module.choose_examples([record] * 3, examples, known)
    assert chosen == [(0, "plain", 0), (0, "striped", 0), (1, "plain", 0), (1, "striped", 0)]
    assert len(opened) == 2 and counts == {"plain": 4, "striped": 4}


def test_first_view_of_an_example_is_the_region_that_is_found_there(
    embed: RegionEmbedding, examples: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The mask is wider than what is bright; where nothing is found it stands for itself."""
    image, file = draw("plain", 0)[0], examples / "masks" / "Plain" / "0.png"
    wide = np.zeros((64, 64), dtype=np.uint8)
    wide[10:50, 8:60] = 255
    Image.fromarray(wide).save(file)
    stage = FindsBrightPixels()
    stage.shapes_examples = True
    door = Predictor(stage)  # type: ignore[arg-type]
    door.use_examples(examples)
    assert door.gallery is not None
    pixels = torch.from_numpy(image).permute(2, 0, 1) / 127.5 - 1
    bright = torch.zeros(64, 64, dtype=torch.bool)
    bright[20:40, 16:44] = True
    views = door.gallery.vectors["plain"][0]
    torch.testing.assert_close(views[:1], embed(pixels, [bright])[0])
    torch.testing.assert_close(views[1:], embed(pixels, [torch.from_numpy(wide) > 0], 8)[0, 1:])
    dark = np.full((64, 64, 3), 60, dtype=np.uint8)
    Image.fromarray(dark).save(examples / "images" / "Plain" / "0.png")
    assert "nothing is found" not in caplog.text
    door.use_examples(examples)
    assert "nothing is found in 1 of the 6 images with examples: calibrate" in caplog.text
    pixels, mask = torch.from_numpy(dark).permute(2, 0, 1) / 127.5 - 1, torch.from_numpy(wide) > 0
    torch.testing.assert_close(door.gallery.vectors["plain"][0], embed(pixels, [mask], 8)[0])


def test_a_release_brings_its_gallery(
    embed: RegionEmbedding, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_embedding, "RegionEmbedding", lambda weights: embed)
    write_run(tmp_path / "run", "baselines/constant.yaml", {"output": str(tmp_path)})
    release, words = tmp_path / "release", ["--checkpoint", str(tmp_path / "run")]
    words += ["--examples", str(examples), "--out", str(release)]
    assert call_command(export, words) == 0
    assert "  gallery/gallery.safetensors\n" in (release / MANIFEST_NAME).read_text()
    door = load_predictor(release, device="cpu")
    assert door.vocabulary.names == ("good", "pit", "burr", "plain", "striped")
    (release / "gallery" / "gallery.json").write_text("{}")
    with pytest.raises(ValueError, match=r"gallery.json' is missing, new or has changed"):
        load_any(release)


def test_an_exported_file_has_the_gallery_beside_it(
    embed: RegionEmbedding, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "open_exported", lambda file, device: FindsBrightPixels())
    read_gallery(examples, embed).save(tmp_path / "release" / "gallery")
    door = load_predictor(tmp_path / "release" / "model.onnx", device="cpu")
    assert door.vocabulary.names == ("good", "pit", "burr", "plain", "striped")


def refusal(examples: Path, tmp_path: Path) -> str:
    """The one line by which predict refuses the examples."""
    Image.fromarray(draw("plain", 5)[0]).save(tmp_path / "part.png")
    with pytest.raises(ValueError) as caught:
        run(examples, tmp_path / "part.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (line,) = str(caught.value).splitlines()
    return line


def test_examples_without_a_mask_are_one_line(
    embed: RegionEmbedding, examples: Path, tmp_path: Path
) -> None:
    (examples / "masks" / "striped" / "1.png").unlink()
    line = refusal(examples, tmp_path)
    assert "striped/1.png: no mask or box says where the defect is: expected images/NAME/" in line


def test_a_name_of_which_hardly_anything_is_marked_is_one_line(
    embed: RegionEmbedding, examples: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in (examples / "masks" / "striped").iterdir():
        mask = np.zeros((64, 64), dtype=np.uint8)
        mask[20:22, 20:24] = 255
        Image.fromarray(mask).save(file)
    line = "nothing of 9 px or more is marked as 'striped': mark more of it, or leave the name out"
    assert f"--examples {examples}: {line}" in refusal(examples, tmp_path)
    source = Folder()
    records = [
        replace(one, split="train", width_px=64, height_px=64) for one in source.records(examples)
    ]
    file, names = tmp_path / "manifest.parquet", source.vocabulary(records)
    write_manifest(file, records, root=examples, vocabulary=names, source="own", leaks=0)
    assert read_gallery(file, embed).names == ("plain",)
    assert line in caplog.text


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("none", "is missing: expected images/NAME/"),
        ("image", ": a file that is no manifest.parquet: expected images/NAME/"),
        ("empty", "holds no examples: expected images/NAME/"),
        ("yolo", "images/train/a.png: .* has no type: .*: expected images/NAME/"),
    ],
)
def test_what_holds_no_examples_is_one_line_with_what_does(
    embed: RegionEmbedding, tmp_path: Path, kind: str, line: str
) -> None:
    place = tmp_path / kind
    image = {"image": place, "yolo": place / "images" / "train" / "a.png"}.get(kind)
    if kind in ("empty", "yolo"):
        place.mkdir()
    if image:
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw("plain", 0)[0]).save(image, format="PNG")
    with pytest.raises((ValueError, FileNotFoundError), match=line) as caught:
        read_gallery(place, embed)
    assert str(caught.value).startswith(f"--examples {place}")


def test_the_results_of_before_stand_for_their_gallery(
    embed: RegionEmbedding, examples: Path, tmp_path: Path
) -> None:
    assert run(examples, examples / "images", tmp_path / "first") == 0
    assert read_gallery(tmp_path / "first", embed).names == ("plain", "striped")
    assert example_images(tmp_path / "first") == set()


def test_a_name_that_is_unknown_is_one_line(
    embed: RegionEmbedding, examples: Path, tmp_path: Path
) -> None:
    for kind in ("images", "masks"):
        (examples / kind / "striped").rename(examples / kind / "Unknown")
    assert "got the name 'unknown', expected names of defects" in refusal(examples, tmp_path)


def test_a_gallery_of_another_encoder_is_one_line(
    embed: RegionEmbedding, examples: Path, tmp_path: Path
) -> None:
    read_gallery(examples, embed).save(tmp_path / "gallery")
    embed.fingerprint = "another"
    line = refusal(tmp_path / "gallery", tmp_path)
    assert "is of the encoder test_resnet, 32 px" in line and "expected another" in line
