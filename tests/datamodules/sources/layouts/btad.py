"""BTAD: .bmp and .png mixed between products and between images and ground truths."""

from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture

# Product -> ending of its images, ending of its ground truths.
ENDINGS = {"01": ("bmp", "png"), "02": ("png", "png"), "03": ("bmp", "bmp")}


def write(root: Path, inside: str = "BTech_Dataset_transformed") -> None:
    """An image to train, a good one and a defective one of each product."""
    for number, (product, (ending, truth_ending)) in enumerate(ENDINGS.items()):
        folder = root / inside / product
        save(folder / f"train/ok/0000.{ending}", texture(10 * number))
        save(folder / f"test/ok/0000.{ending}", texture(10 * number + 1))
        save(folder / f"test/ko/0000.{ending}", texture(10 * number + 2))
        save(folder / f"ground_truth/ko/0000.{truth_ending}", spot(255))
