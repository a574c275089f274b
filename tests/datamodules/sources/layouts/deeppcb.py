"""Circuit boards: tested image beside its template, boxes as text, lists of wrong names."""

from pathlib import Path

import numpy as np

from tests.datamodules.sources.painting import save, texture


def write(root: Path) -> None:
    """Two groups: two pairs, and one pair that is stored as RGB with a template of no pair."""
    write_pair(root, "00041", "00041000", "5 10 20 20 1\n1 1 9 9 6\n")
    write_pair(root, "00041", "00041001", "5 10 20 20 3\n")
    write_pair(root, "12000", "12000007", "5,10,20,20,5\n", channels=3)
    save(root / "PCBData/group12000/12000/12000034_temp.jpg", texture(34))
    write_lists(root, trainval=["00041000", "12000007"], test=["00041001"])


def write_pair(root: Path, group: str, name: str, boxes: str, *, channels: int = 1) -> None:
    """A tested image, its template and its file of boxes."""
    folder = root / "PCBData" / f"group{group}"
    for place, kind in enumerate(("test", "temp")):
        grey = texture(2 * int(name) + place)
        pixels = grey if channels == 1 else np.repeat(grey[..., None], channels, axis=2)
        save(folder / group / f"{name}_{kind}.jpg", pixels)
    (folder / f"{group}_not").mkdir(exist_ok=True)
    (folder / f"{group}_not" / f"{name}.txt").write_text(boxes, encoding="utf-8")


def write_lists(root: Path, *, trainval: list[str], test: list[str]) -> None:
    """The authors' lists, which name <id>.jpg where the file is <id>_test.jpg."""
    for file_name, names in (("trainval.txt", trainval), ("test.txt", test)):
        lines = [
            f"group{name[:5]}/{name[:5]}/{name}.jpg group{name[:5]}/{name[:5]}_not/{name}.txt"
            for name in names
        ]
        (root / "PCBData" / file_name).write_text("\n".join(lines) + "\n", encoding="utf-8")
