"""What experiments.generate leaves: painted images with masks, and drawn ones without."""

import json
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from datamodules.captions import Caption
from datamodules.formats.synthetic_mark import Origin, origin_text
from tests.datamodules.sources.painting import save, spot, texture

CHECKPOINT = "ab" * 32
PAINTED, DRAWN, GOOD, UNKNOWN = range(4)


def write(root: Path) -> None:
    """A crack painted with its mask, and a drawn stain, a good part, and one in free words."""
    captions = [
        Caption("tile", defect="crack", location="the left"),
        Caption("tile", defect="stain"),
        Caption("tile"),
        None,
    ]
    words = ["crack", "stain", "good", None]
    rows = [
        write_image(root, number, caption, defect)
        for number, (caption, defect) in enumerate(zip(captions, words, strict=True))
    ]
    save(root / "masks" / "000000.png", spot(255))
    rows[PAINTED] |= {"mask": "masks/000000.png", "source_sha256": "cd" * 32}
    write_table(root, rows)


def write_image(
    root: Path, number: int, caption: Caption | None, defect: str | None
) -> dict[str, object]:
    """One marked image, and its line of the table."""
    prompt = caption.render() if caption else "A rusty bolt."
    origin = Origin(prompt, number, CHECKPOINT, "ddim", 50, 1.5)
    name = f"images/{number:06}.png"
    (root / "images").mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(texture(number).astype("uint8"))
    image.save(root / name, pnginfo=origin_text(origin))
    told = asdict(caption) if caption else None
    return {"image": name, "mask": "", "caption": told, "defect": defect, **asdict(origin)}


def write_table(root: Path, rows: list[dict[str, object]]) -> None:
    """The table of the rows."""
    lines = [json.dumps(row) + "\n" for row in rows]
    (root / "generated.jsonl").write_text("".join(lines), encoding="utf-8")


def read_table(root: Path) -> list[dict[str, object]]:
    """The rows of the table."""
    return [json.loads(line) for line in (root / "generated.jsonl").read_text().splitlines()]
