"""Holds what generate writes and refuses: prompts, windows, masks, and any image again alone."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.manifest import Manifest
from datamodules.splits import FewShots
from experiments import checkpoints
from experiments.cli import call_command
from experiments.generate import generate
from experiments.generation.jobs import good_training_images
from experiments.generation.prompts import gather_prompts, parse_prompt
from experiments.generation.windows import draw_mask, soft_inside, window_around
from experiments.prepare import prepare
from lightning_modules.nets.text_encoder import count_words
from tests.experiments.audits.small_manifest import rewritten, small_manifest
from tests.experiments.refused import refused
from tests.experiments.small_stages import SIDE_PX, write_run

PARTS = "model.init_args.diffusion.init_args"
SMALL = {
    f"{PARTS}.image_encoder.init_args.model_name": "test_resnet",
    f"{PARTS}.denoiser.init_args.block_channels": "[16, 16, 32]",
    f"{PARTS}.denoiser.init_args.norm_groups": "8",
}
OUTPUT_LAYER = "diffusion.denoiser.unet.conv_out.weight"
PROMPT = "Plate of steel with crack."


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of an untrained stage 1 whose denoiser says something."""
    directory = write_run(tmp_path_factory.mktemp("run") / "one", "stage1_tiny.yaml", SMALL)
    file = directory / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    torch.nn.init.normal_(saved["state_dict"][OUTPUT_LAYER], std=0.05)
    torch.save(saved, file)
    return directory


@pytest.fixture(scope="module", autouse=True)
def opened_once() -> Iterator[None]:
    """Each checkpoint is read once: building the nets takes longer than all the sampling."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "load_pretrain", cache(checkpoints.load_pretrain))
        yield


@pytest.fixture
def goods(tmp_path: Path) -> Path:
    """Four good images: grey, colour, smaller than the U-Net's side, and oblong."""
    folder = tmp_path / "goods"
    folder.mkdir()
    rng = np.random.default_rng(0)
    shapes = {"grey": (90, 120), "colour": (100, 70, 3), "little": (40, 25), "oblong": (30, 200, 3)}
    for name, shape in shapes.items():
        pixels = rng.integers(60, 200, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def masks(goods: Path, tmp_path: Path) -> Path:
    """A mask for each good image: an upright block near its left border."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for path in goods.iterdir():
        width, height = Image.open(path).size
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[height // 2 - 10 : height // 2 + 10, 2:12] = 255
        Image.fromarray(mask).save(folder / path.name)
    return folder


def run(trained: Path, out: Path, *words: str) -> list[dict]:
    """The lines of what generate wrote into `out`, with three steps an image."""
    common = ["--checkpoint", str(trained), "--out", str(out), "--steps", "3", "--device", "cpu"]
    assert call_command(generate, [*common, *words]) == 0
    table = (out / "generated.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in table.splitlines()]


def pixels_of(folder: Path, line: dict, key: str = "image") -> np.ndarray:
    return np.asarray(Image.open(folder / line[key])).astype(int)


def test_each_prompt_is_drawn_as_often_as_asked(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("Ziegel mit Riß\n\n白い傷\n", encoding="utf-8")
    words = ("--prompt", PROMPT, "--prompts", str(tmp_path / "prompts.txt"))
    lines = run(trained, tmp_path / "out", *words, "--count", "2", "--seed", "7")
    assert [(line["image"], line["prompt"], line["seed"], line["defect"]) for line in lines] == [
        ("images/000000.png", PROMPT, 7, "crack"),
        ("images/000001.png", PROMPT, 8, "crack"),
        ("images/000002.png", "Ziegel mit Riß", 7, None),
        ("images/000003.png", "Ziegel mit Riß", 8, None),
        ("images/000004.png", "白い傷", 7, None),
        ("images/000005.png", "白い傷", 8, None),
    ]
    image = Image.open(tmp_path / "out" / "images" / "000005.png")
    assert image.size == (SIDE_PX, SIDE_PX) and image.info["prompt"] == "白い傷"


def test_every_png_carries_the_mark_and_its_origin(
    trained: Path, goods: Path, masks: Path, tmp_path: Path
) -> None:
    words = ("--images", f"{goods}/grey.png", "--masks", str(masks), "--prompt", PROMPT)
    run(trained, tmp_path / "out", *words, "--seed", "4", "--guidance_scale", "2")
    checkpoint = (trained / "checkpoints" / "last.ckpt").read_bytes()
    for name in ("images/000000.png", "masks/000000.png"):
        origin = Image.open(tmp_path / "out" / name).info
        assert origin.pop("prompt").startswith("Plate of steel with crack located at the left")
        assert origin == {
            "seed": "4",
            "checkpoint_sha256": hashlib.sha256(checkpoint).hexdigest(),
            "sampler": "ddim",
            "steps": "3",
            "guidance_scale": "2.0",
            "synthetic": "true",
            "software": "DiffuseDefect",
        }
    assert Image.open(tmp_path / "out" / "grid.png").info["synthetic"] == "true"


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpmpp"])
def test_any_image_can_be_made_again_alone(trained: Path, tmp_path: Path, sampler: str) -> None:
    words = ("--prompt", PROMPT, "--sampler", sampler)
    many = run(trained, tmp_path / "a", *words, "--count", "3", "--batch_size", "2", "--seed", "1")
    (one,) = run(trained, tmp_path / "b", *words, "--seed", "3")
    first, again = pixels_of(tmp_path / "a", many[2]), pixels_of(tmp_path / "b", one)
    assert abs(first - again).max() <= 1
    assert abs(first - pixels_of(tmp_path / "a", many[1])).max() > 10


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpmpp"])
def test_only_the_pixels_inside_the_given_mask_are_painted(
    trained: Path, goods: Path, masks: Path, tmp_path: Path, sampler: str
) -> None:
    words = ("--images", str(goods), "--masks", str(masks), "--prompt", PROMPT)
    for line in run(trained, tmp_path / "out", *words, "--sampler", sampler):
        file = goods / f"{line['source_image']}.png"
        source = np.asarray(Image.open(file)).astype(int)
        painted, mask = (pixels_of(tmp_path / "out", line, key) for key in ("image", "mask"))
        assert painted.shape == source.shape
        assert np.array_equal(painted[mask == 0], source[mask == 0])
        change = abs(painted - source)[mask > 0].mean()
        assert change == pytest.approx(line["mean_change"], abs=0.01) and change > 5
        assert np.array_equal(mask, np.asarray(Image.open(masks / file.name)))
        assert line["source_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    # What was painted is prepared for training.
    given = ["--source=generated", f"--root={tmp_path / 'out'}", f"--out={tmp_path / 'data'}"]
    assert call_command(prepare, given) == 0
    manifest = Manifest.open(tmp_path / "data" / "manifest.parquet")
    assert (len(manifest), manifest.generated_count) == (4, 4)
    record = manifest[0]
    assert record.defects == ("crack",) and record.mask_kind == "pixel"
    assert record.caption.render().startswith("Plate of steel with crack located at the")


def test_drawn_masks_differ_by_image_and_seed_and_repeat(
    trained: Path, goods: Path, tmp_path: Path
) -> None:
    words = ("--images", str(goods), "--draw_masks", "--defect", "hole", "--count", "2")
    first = run(trained, tmp_path / "a", *words)
    again = run(trained, tmp_path / "b", *words)
    masks = [pixels_of(tmp_path / "a", line, "mask") for line in first]
    assert all(mask.any() and not mask.all() for mask in masks)
    assert not np.array_equal(masks[0], masks[1])
    for line, mask in zip(again, masks, strict=True):
        assert np.array_equal(pixels_of(tmp_path / "b", line, "mask"), mask)


def test_broken_image_leaves_nothing_behind(trained: Path, goods: Path, tmp_path: Path) -> None:
    whole = (goods / "grey.png").read_bytes()
    (goods / "zz.png").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.iterdir())
    given = ("--checkpoint", trained, "--out", tmp_path / "out", "--steps", "1")
    words = ("--images", goods, "--draw_masks", "--defect", "crack")
    assert "zz.png" in refused(generate, *given, *words)
    assert sorted(tmp_path.iterdir()) == before


PAINTED = ("--images", "{goods}", "--defect", "crack")
MASKED = ("--images", "{goods}/grey.png", "--defect", "crack", "--masks")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "nothing says what to paint"),
        (("--prompt", " "), "a prompt is empty"),
        (("--prompt", PROMPT, "--count", "0"), "--count is 0: expected 1 or more"),
        (("--prompt", PROMPT, "--steps", "1001"), "steps are 1001: expected 1 to 1000"),
        (("--prompt", PROMPT, "--seed", "-1"), "--seed is -1: expected 0 or more"),
        (("--prompt", PROMPT, "--sampler", "plms"), "invalid choice: 'plms'"),
        (("--prompt", PROMPT, "--size_px", "100"), "side is 100 px: expected a multiple of 32"),
        (("--prompt", PROMPT, "--device", "toaster"), "try --device cpu"),
        (("--prompt", PROMPT, "--defect", "stain"), "names 'crack', --defect is 'stain'"),
        (("--prompt", "word " * 80), "takes 80 tokens, expected at most the text encoder's 77"),
        (("--prompt", PROMPT, "--draw_masks"), "need --images"),
        (("--prompt", PROMPT, "--max_images", "0"), "--max_images is 0: expected 1 or more"),
        (("--prompts", "nowhere.txt"), "nowhere.txt"),
        (("--prompt", PROMPT, "--promt", "x"), "did you mean --prompt"),
        (PAINTED, "comes with 0 of --masks and --draw_masks: expected exactly one"),
        ((*PAINTED, "--masks", "M", "--draw_masks"), "comes with 2 of --masks and --draw_masks"),
        ((*PAINTED, "--masks", "nowhere"), "--masks nowhere is no folder"),
        ((*PAINTED[:2], "--draw_masks", "--prompt", "rusty"), "asks for 'no known type'"),
        ((*PAINTED, "--draw_masks", "--max_images", "3"), "with a manifest.parquet alone"),
        ((*PAINTED, "--masks", "{empty}"), "has no mask in"),
        ((*MASKED, "{empty}/dark.png"), "is empty: expected white where the defect goes"),
        ((*MASKED, "{empty}/small.png"), "expected its image's 120x90 px"),
        ((*PAINTED, "--draw_masks", "--out", "{goods}", "--overwrite"), "not overwritten"),
        ((*PAINTED, "--draw_masks", "--out", "{goods}/.."), "--overwrite"),
    ],
)
def test_impossible_wishes_are_one_line(
    trained: Path, goods: Path, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((90, 120), np.uint8)).save(tmp_path / "empty" / "dark.png")
    Image.fromarray(np.full((9, 12), 255, np.uint8)).save(tmp_path / "empty" / "small.png")
    before = sorted(tmp_path.rglob("*"))
    places = {"goods": goods, "empty": tmp_path / "empty"}
    given = ("--checkpoint", trained, "--out", tmp_path / "out")
    assert line in refused(generate, *given, *(word.format(**places) for word in words))
    assert sorted(tmp_path.rglob("*")) == before


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


def test_place_and_shape_are_as_the_mask_has_them_and_long_captions_lose_fields() -> None:
    placed = parse_prompt(TEMPLATE, None).placed(upper_left())
    assert placed.text == (
        "Plate of steel with crack located at the upper left, characterized by a medium round "
        "area, potentially caused by a blow."
    )
    free_text = parse_prompt("rusty at the right", "rust")
    assert free_text.placed(upper_left()) == free_text
    assert parse_prompt(TEMPLATE, None).fitted(count_words, 4) == "Plate with crack."
    (prompt,) = gather_prompts([], "", "Pin_hole")
    assert (prompt.text, prompt.types) == ("Part with pin hole.", "pin hole")


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
    generated = [replace(record, is_generated=True) for record in records[:30]]
    nothing_real = rewritten(tmp_path / "none.parquet", generated, tmp_path / "raw").path

    def found(limit: int | None, seed: int) -> list[Path]:
        return [image.path for image in good_training_images(file, limit, seed=seed)]

    with pytest.raises(ValueError, match="has no good image among its"):
        good_training_images(nothing_real, None, seed=0)
    assert found(None, 0) == [tmp_path / "raw" / manifest[row].image for row in good]
    for seed in (0, 1):
        shots = FewShots(2, seed=seed).choose(Manifest.open(file), rows).tolist()
        assert found(2, seed) == [
            tmp_path / "raw" / manifest[row].image for row in shots if row in good
        ]


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
    with pytest.raises(ValueError, match="image is 9 x 8 px: too small to draw a mask of"):
        draw_mask(np.random.default_rng(0), (8, 9), defect=defect, side_px=64)
