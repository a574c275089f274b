"""Rendered surfaces: the source writes them itself."""

from pathlib import Path

SETTINGS: dict[str, object] = {"image_count": 11, "image_size_px": 64}


def write(root: Path) -> None:
    """An empty folder."""
    root.mkdir(exist_ok=True)
