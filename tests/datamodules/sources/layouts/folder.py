"""A user's own images by type, with masks."""

from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture


def write(root: Path) -> None:
    """Two defective images and a good one with their masks, and a scratch without one."""
    for number, name in enumerate(("crack", "scratch", "good")):
        save(root / "images" / name / "a.png", texture(number))
        save(root / "masks" / name / "a.png", spot(0 if name == "good" else 255))
    save(root / "images" / "scratch" / "Line 2" / "b.BMP", texture(7))
