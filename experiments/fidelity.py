"""`fidelity`: how near generated images are to real ones, how varied, and how much is copied.

    python -m experiments.fidelity --real DATA/manifest.parquet --generated DIR \\
        --extractor mobilenetv2_100 --weights FILE.safetensors --out REPORT

REPORT gets results.json, results.md and two grids. Figures are named after the extractor.
`--extractor inception` (pip install torch-fidelity) gives the FID, KID and IS that papers print.
What is measured is in `generation/fidelity_report.py`.
"""

from pathlib import Path
from typing import Literal

from rich.console import Console

from experiments.cli import check_is_free, run_command, whole_folder

FILES = ("results.json", "results.md", "real_and_generated.png", "nearest_neighbours.png")
TRAIN = "train"


def fidelity(
    *,
    real: Path,
    generated: Path,
    extractor: str,
    weights: Path,
    out: Path,
    split: str = TRAIN,
    held_out: str = "val",
    pixel_mean: float | None = None,
    pixel_deviation: float | None = None,
    padding: str = "",
    real_transform: Literal["crop", "whole"] = "crop",
    batch_size: int = 32,
    device: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Compare generated images with real ones: FID, KID, IS, diversity, copies.

    Args:
        real: manifest.parquet of prepare
        generated: folder of experiments.generate, or any of images
        extractor: "inception", or the name of a timm model
        weights: local file of the extractor's weights
        out: a new folder for the report
        split: what generated images should look like
        held_out: real images that the generator has not seen
        pixel_mean: of pixels in [0, 1] (default: timm's own)
        pixel_deviation: of pixels in [0, 1] (default: timm's own)
        padding: "same" for weights from TensorFlow
        real_transform: crop: squares of the generated images' side, as stage 1 at tiny scale
            sees them; whole: squeezed to that square, as the paper's stage 1 does
        batch_size: images at a time
        device: cpu, cuda, cuda:1 (default: the first GPU, else the CPU)
        seed: of crops and subsets
        overwrite: replace an older report in --out
    """
    settings = {name: str(value) for name, value in locals().items()}
    if batch_size < 1:
        raise ValueError(f"--batch_size is {batch_size}: expected 1 or more")
    check_is_free(out, entries=FILES, overwrite=overwrite)
    from datamodules.decode import sha256_of
    from datamodules.manifest import Manifest
    from experiments.checkpoints import default_device, on_device
    from experiments.generation.fidelity_report import compare
    from experiments.generation.views import GeneratedViews, RealViews, crop_or_whole
    from experiments.tables import metrics_table, print_table
    from lightning_modules.nets import feature_extractors as extractors

    manifest = Manifest.open(real)
    views = GeneratedViews(generated, manifest.vocabulary)
    net: extractors.FeatureExtractor
    if extractor == extractors.INCEPTION:
        net = extractors.InceptionExtractor(weights)
    else:
        net = extractors.TimmExtractor(
            extractor,
            weights,
            pixel_mean=pixel_mean,
            pixel_deviation=pixel_deviation,
            padding=padding,
        )
    transform = crop_or_whole(real_transform, views.sides_px(), net.input_px)
    report = compare(
        on_device(net, device or default_device()),
        views,
        {one: RealViews(manifest, one, transform, seed=seed) for one in (split, TRAIN, held_out)},
        split=split,
        held_out=held_out,
        batch_size=batch_size,
        seed=seed,
    )
    settings["weights_sha256"] = sha256_of(weights)
    settings |= {"manifest_sha256": manifest.sha256, "split_sha256": manifest.split_sha256}
    with whole_folder(out, entries=FILES, overwrite=overwrite) as folder:
        report.write(folder, settings)
    print_table(metrics_table("real and generated", report.figures))
    for warning in report.warnings:
        Console().print(f"note      {warning}", soft_wrap=True, highlight=False, markup=False)
    Console().print(f"report    {out / FILES[1]}", soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    run_command(fidelity)
