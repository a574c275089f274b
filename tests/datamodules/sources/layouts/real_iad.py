"""Real-IAD: views of a sample in one folder, JSON lists with prefix and normal class."""

import json
from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture

CATEGORY = "bottle_cap"


def write(root: Path, folder: str = "realiad_jsons/realiad_jsons") -> None:
    """A good sample to train; to test a defective one, whose second view does not show it."""
    pictures = root / "realiad_1024" / CATEGORY
    good = f"OK/S0001/{CATEGORY}_0001_OK_C1_20231021130235.jpg"
    shown = f"NG/AK/S0001/{CATEGORY}__0001_NG_AK_C1_20231023111538"
    hidden = f"NG/AK/S0001/{CATEGORY}__0001_NG_AK_C2_20231023111538.jpg"
    for seed, name in enumerate((good, f"{shown}.jpg", hidden)):
        save(pictures / name, texture(seed))
    save(pictures / f"{shown}.png", spot(255))
    content = {
        "meta": {"prefix": f"{CATEGORY}/", "normal_class": "OK", "pre_transform": False},
        "train": [entry("OK", good)],
        "test": [entry("AK", f"{shown}.jpg", f"{shown}.png"), entry("OK", hidden)],
    }
    write_table(root / folder / f"{CATEGORY}.json", content)


def entry(code: str, image: str, mask: str | None = None) -> dict[str, str | None]:
    """One entry of a list."""
    return {
        "category": CATEGORY,
        "anomaly_class": code,
        "image_path": image,
        "mask_path": mask,
    }


def write_table(path: Path, content: object) -> None:
    """The content as a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
