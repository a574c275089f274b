"""VisA: CSV splits, comma-parted labels, masks whose grey values are type numbers."""

from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture

TWO_TYPES = '"different colour spot,foreign particals on candle"'
ROWS = (
    "candle,train,normal,candle/Data/Images/Normal/0000.JPG,",
    "candle,test,normal,candle/Data/Images/Normal/0001.JPG,",
    "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
    "pcb4,test,anomaly,pcb4/Data/Images/Anomaly/000.JPG,pcb4/Data/Masks/Anomaly/000.png",
)


def write(root: Path) -> None:
    """Two good candles, a candle with two types, a board with one."""
    for seed, row in enumerate(ROWS):
        save(root / row.split(",")[3], texture(seed))
    two_types = spot(4)
    two_types[30:33, 30:40] = 6
    for kind, mask, good, label in (
        ("candle", two_types, "candle/Data/Images/Normal/0000.JPG,normal,\n", TWO_TYPES),
        ("pcb4", spot(7), "", "dirt"),
    ):
        save(root / kind / "Data/Masks/Anomaly/000.png", mask)
        row = f"{kind}/Data/Images/Anomaly/000.JPG,{label},{kind}/Data/Masks/Anomaly/000.png\n"
        text = f"image,label,mask\n{good}{row}"
        (root / kind / "image_anno.csv").write_text(text, encoding="utf-8")
    (root / "split_csv").mkdir()
    text = "\n".join(("object,split,label,image,mask", *ROWS)) + "\n"
    (root / "split_csv" / "1cls.csv").write_text(text, encoding="utf-8")
