"""Real-IAD: views of a sample in one folder, JSON lists with prefix and normal class."""

import json
from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture

CATEGORY = "bottle_cap"


def write(root: Path) -> None:
    """A good sample to train; to test a defective one, whose second view does not show it."""
    images = root / "realiad_1024" / CATEGORY
    good = f"OK/S0001/{CATEGORY}_0001_OK_C1_20231021130235.jpg"
    shown = f"NG/AK/S0001/{CATEGORY}__0001_NG_AK_C1_20231023111538"
    hidden = f"NG/AK/S0001/{CATEGORY}__0001_NG_AK_C2_20231023111538.jpg"
    for seed, name in enumerate((good, f"{shown}.jpg", hidden)):
        save(images / name, texture(seed))
    save(images / f"{shown}.png", spot(255))
    rows = [("OK", good, None), ("AK", f"{shown}.jpg", f"{shown}.png"), ("OK", hidden, None)]
    entries = [
        {"category": CATEGORY, "anomaly_class": code, "image_path": image, "mask_path": mask}
        for code, image, mask in rows
    ]
    meta = {"prefix": f"{CATEGORY}/", "normal_class": "OK", "pre_transform": False}
    path = root / "realiad_jsons" / "realiad_jsons" / f"{CATEGORY}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"meta": meta, "train": entries[:1], "test": entries[1:]}))
