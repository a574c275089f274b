"""The mark of generated images goes into a PNG and comes out, whatever the prompt."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.formats.synthetic_mark import (
    Origin,
    origin_text,
    read_text,
    refuse_unmarked,
    with_mark,
)

SHA256 = "ab" * 32
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def write(path: Path, prompt: str = "Plate with crack.") -> Path:
    text = origin_text(Origin(prompt, 2**62, SHA256, "ddim", 50, 1.5))
    Image.fromarray(PIXELS).save(path, pnginfo=text)
    return path


@pytest.mark.parametrize("prompt", ["Plate with crack.", "Riß", "白い傷", "=" * 5000])
def test_origin_comes_back_as_written(tmp_path: Path, prompt: str) -> None:
    assert read_text(write(tmp_path / "a.png", prompt)) == {
        "prompt": prompt,
        "seed": str(2**62),
        "checkpoint_sha256": SHA256,
        "sampler": "ddim",
        "steps": "50",
        "guidance_scale": "1.5",
        "synthetic": "true",
        "software": "DiffuseDefect",
    }


def test_mark_is_read_without_decoding_a_pixel(tmp_path: Path) -> None:
    content = write(tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: content.index(b"IDAT") + 100])
    refuse_unmarked(tmp_path / "cut.png", SHA256)


def test_mark_is_added_to_a_finished_file_without_touching_pixels(tmp_path: Path) -> None:
    plain = io.BytesIO()
    Image.fromarray(PIXELS).save(plain, format="PNG")
    (tmp_path / "a.png").write_bytes(with_mark(plain.getvalue(), {"prompt": "白い傷"}))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), PIXELS)
    text = read_text(tmp_path / "a.png")
    assert (text["prompt"], text["synthetic"]) == ("白い傷", "true")
