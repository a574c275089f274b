"""Two prepared sets below one root, each with its manifest."""

from pathlib import Path

from datamodules.captions import Caption
from datamodules.manifest import write_manifest
from datamodules.sample import GOOD, UNLABELLED, MaskValues, Record, Region
from datamodules.vocabulary import Vocabulary
from tests.datamodules.sources.painting import save, spot, texture

SETTINGS: dict[str, object] = {"manifests": ["tiles/manifest.parquet", "out/manifest.parquet"]}


def write(root: Path) -> None:
    """A set with masks beside its manifest, and one with boxes whose manifest lies elsewhere."""
    write_set(root / "tiles", root / "tiles/manifest.parquet", source="tiles", type_name="pin-hole")
    write_set(root / "boards/raw", root / "out/manifest.parquet", source="boards", type_name="pore")


def write_set(folder: Path, manifest: Path, *, source: str, type_name: str) -> None:
    """Four images, one per split, train and val defective, and the manifest of them."""
    records = []
    for number, split in enumerate(("train", "val", "test", UNLABELLED)):
        name = f"{split} {number}.png"
        save(folder / "images" / name, texture(number + len(source)))
        defects = (type_name,) if split in ("train", "val") else ()
        records.append(
            Record(
                image=f"images/{name}",
                mask="mask.png" if split == "train" else "",
                mask_values=(
                    (MaskValues(0, 127, GOOD), MaskValues(128, 255, type_name))
                    if split == "train"
                    else ()
                ),
                defects=defects,
                caption=Caption("tile", defect=" and ".join(defects)),
                group=f"run {number}",
                source=source,
                split=split,
                regions=(Region(type_name, "box", (5, 5, 9, 9)),) if split == "val" else (),
                licence=f"licence of {source}",
            )
        )
    save(folder / "mask.png", spot(255))
    vocabulary = Vocabulary.from_names([type_name])
    write_manifest(manifest, records, root=folder, vocabulary=vocabulary, source=source)
