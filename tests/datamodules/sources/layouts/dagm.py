"""DAGM 2007: two textures with Labels.txt as the original writes it."""

from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture


def write(root: Path) -> None:
    """A good and a defective image in both parts of the textures 1 and 10."""
    for number in (1, 10):
        for place, first in (("Train", 576), ("Test", 1)):
            folder = root / f"Class{number}" / place
            save(folder / f"{first:04d}.PNG", texture(100 * number + first))
            save(folder / f"{first + 1:04d}.PNG", texture(100 * number + first + 1))
            save(folder / "Label" / f"{first + 1:04d}_label.PNG", spot(255))
            lines = [
                "1",
                f"{first}\t0\t{first:04d}.PNG\t0\t0",
                f"{first + 1}\t1\t{first + 1:04d}.PNG\t0\t{first + 1:04d}_label.PNG",
            ]
            (folder / "Label" / "Labels.txt").write_text("\r\n".join(lines) + "\r\n", "utf-8")
