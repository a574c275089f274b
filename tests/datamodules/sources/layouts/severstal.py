"""Severstal: runs in train.csv, counted from 1 down the columns of images 40 px high."""

from pathlib import Path

from tests.datamodules.sources.painting import save, texture

HEADER = "ImageId,ClassId,EncodedPixels"
ROWS = (
    "0002cc93b.jpg,1,211 10 251 10",
    "0007a71bf.jpg,3,1 40",
    "0007a71bf.jpg,4,401 80 521 5",
)


def write(root: Path) -> None:
    """Two defective images, one without a row, one to test."""
    for seed, name in enumerate(("0002cc93b", "0007a71bf", "000a4bcdd")):
        save(root / "train_images" / f"{name}.jpg", texture(seed))
    save(root / "test_images" / "0000f269f.jpg", texture(9))
    rows = "\n".join((HEADER, *ROWS))
    (root / "train.csv").write_text(rows + "\n", encoding="utf-8")
