"""Severstal: runs in train.csv, counted from 1 down the columns of pictures 40 px high."""

from pathlib import Path

from tests.datamodules.sources.painting import save, texture

HEADER = "ImageId,ClassId,EncodedPixels"
ROWS = (
    "0002cc93b.jpg,1,211 10 251 10",
    "0007a71bf.jpg,3,1 40",
    "0007a71bf.jpg,4,401 80 521 5",
)
# The same in the first form of the table: a row for each class of each picture.
FIRST_ROWS = (
    "0002cc93b.jpg_1,211 10 251 10",
    "0002cc93b.jpg_2,",
    "0002cc93b.jpg_3,",
    "0002cc93b.jpg_4,",
    "0007a71bf.jpg_1,",
    "0007a71bf.jpg_2,",
    "0007a71bf.jpg_3,1 40",
    "0007a71bf.jpg_4,401 80 521 5",
)


def write(root: Path, header: str = HEADER, rows: tuple[str, ...] = ROWS) -> None:
    """Two defective pictures, one without a row, one to test; train.csv holds `rows`."""
    for seed, name in enumerate(("0002cc93b", "0007a71bf", "000a4bcdd")):
        save(root / "train_images" / f"{name}.jpg", texture(seed))
    save(root / "test_images" / "0000f269f.jpg", texture(9))
    (root / "train.csv").write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
