"""KolektorSDD2: a mask beside each image, and what else lies in the archive."""

from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture


def write(root: Path) -> None:
    """A good and a defective image in both parts, and the stray files of the archive."""
    for seed, (name, grey) in enumerate(
        {"train/10000": 0, "train/10301": 255, "test/20000": 255, "test/20003": 0}.items()
    ):
        save(root / f"{name}.png", texture(seed))
        save(root / f"{name}_GT.png", spot(grey))
    save(root / "train/10301 (copy).png", texture(1))
    save(root / "train/10301_GT (copy).png", spot(255))
    (root / "split_weakly_0.pyb").write_bytes(b"a pickle")
