"""Magnetic tiles: image and soft mask in one folder per type, some masks of defects all zero."""

from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture

TILES = {"MT_Blowhole": 255, "MT_Crack": 200, "MT_Uneven": 0, "MT_Free": 0}


def write(root: Path) -> None:
    """Four tiles of four capture runs."""
    for number, (folder, grey) in enumerate(TILES.items()):
        write_tile(root, folder, f"exp1_num_{1000 * number + 7}", grey=grey, seed=number)


def write_tile(root: Path, folder: str, name: str, *, grey: int, seed: int = 0) -> None:
    """One image with the mask beside it; grey is the mask's value on the defect."""
    save(root / folder / "Imgs" / f"{name}.jpg", texture(seed))
    save(root / folder / "Imgs" / f"{name}.png", spot(grey))
