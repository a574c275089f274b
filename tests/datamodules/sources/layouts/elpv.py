"""Solar cells: columns aligned by blanks, no header, ratings of whole images."""

from pathlib import Path

from tests.datamodules.sources.painting import save, texture

LINES = (
    "images/cell0001.png  1.0                 mono",
    "images/cell0004.png  0.0                 mono",
    "images/cell0005.png  0.3333333333333333  poly",
    "images/cell0006.png  0.6666666666666666  poly",
)


def write(root: Path, lines: tuple[str, ...] = LINES) -> None:
    """The images of the four LINES and one without a line; labels.csv holds `lines`."""
    for number in (1, 4, 5, 6, 9):
        save(root / "images" / f"cell{number:04d}.png", texture(number))
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
