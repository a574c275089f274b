"""`fidelity`: how near generated pictures are to real ones, how varied, and how much is copied.

    python -m experiments.fidelity --real DATA/manifest.parquet --generated DIR \\
        --extractor mobilenetv2_100 --weights FILE.safetensors --out REPORT

REPORT gets results.json, results.md and two pictures. Figures are named after the extractor.
`--extractor inception` (pip install torch-fidelity) gives the FID, KID and IS that papers print.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from PIL import Image
from rich.console import Console

from datamodules.manifest import Manifest
from datamodules.transforms import Transform
from experiments.command import run_command
from experiments.devices import default_device, on_device
from experiments.judging.fidelity_measures import Settings
from experiments.judging.fidelity_pictures import draw_by_type, draw_neighbours
from experiments.judging.fidelity_report import (
    FILES,
    PICTURES,
    TEXT_NAME,
    describe_settings,
    to_text,
    track,
)
from experiments.judging.judgement import Judgement, Looking, Pictures, judge
from experiments.judging.picture_folder import GeneratedPictures
from experiments.judging.picture_sets import RealPictures, crop_views, whole_views
from experiments.output_folder import check_is_free, whole_folder
from experiments.running.spooled_logger import SPOOL_NAME
from experiments.runs import write_results
from experiments.tables import metrics_table, to_rich
from lightning_modules.nets.feature_extractors import (
    INCEPTION,
    FeatureExtractor,
    InceptionExtractor,
    TimmExtractor,
)

ENTRIES = (*FILES, SPOOL_NAME)
TRAIN = "train"


def main(argv: list[str] | None = None) -> int:
    """Judge the pictures, print the figures and write the report; 0 when done."""
    settings = _parse(sys.argv[1:] if argv is None else argv)
    out = Path(settings.out)
    check_is_free(out, entries=ENTRIES, overwrite=settings.overwrite)
    manifest = Manifest.open(settings.real, settings.root or None)
    generated = GeneratedPictures(Path(settings.generated), manifest.vocabulary)
    extractor = on_device(load_extractor(settings), settings.device)
    pictures = gather(settings, manifest, generated, input_px=extractor.input_px)
    judgement = judge(
        pictures,
        extractor,
        looking=Looking(settings.batch_size, settings.workers, settings.device),
        settings=Settings(seed=settings.seed),
    )
    figures = {f"generation/{settings.split}/{k}": v for k, v in judgement.figures.items()}
    about = describe_settings(settings, manifest, pictures)
    console = Console()
    with whole_folder(out, entries=ENTRIES, overwrite=settings.overwrite) as folder:
        write_results(folder, figures)
        (folder / TEXT_NAME).write_text(to_text(figures, judgement, about), encoding="utf-8")
        for name, picture in zip(PICTURES, draw(pictures, judgement), strict=True):
            Image.fromarray(picture).save(folder / name)
    console.print(to_rich(metrics_table("real and generated", figures)))
    for doubt in judgement.doubts:
        console.print(f"note      {doubt}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"report    {out / TEXT_NAME}", soft_wrap=True, highlight=False)
    if settings.experiment:
        track(settings, figures, about)
    return 0


def load_extractor(settings: Namespace) -> FeatureExtractor:
    """The net that was asked for; FileNotFoundError or ValueError where it or its weights fail."""
    weights = Path(settings.weights)
    if settings.extractor == INCEPTION:
        return InceptionExtractor(weights)
    return TimmExtractor(
        settings.extractor,
        weights,
        pixel_mean=settings.pixel_mean,
        pixel_deviation=settings.pixel_deviation,
        padding=settings.padding,
    )


def gather(
    settings: Namespace, manifest: Manifest, generated: GeneratedPictures, *, input_px: int
) -> Pictures:
    """Real and generated pictures as views of one size; ValueError where that cannot be."""
    transform = real_views(settings, generated.sizes_px(), input_px)
    is_generated = np.array(manifest.column("is_generated"), dtype=bool)
    found: dict[str, RealPictures] = {}
    for split in (settings.split, TRAIN, settings.held_out):
        rows = manifest.rows_of(split)
        rows = rows[~is_generated[rows]]
        if not len(rows):
            present = ", ".join(sorted(set(manifest.column("split"))))
            raise ValueError(
                f"manifest {settings.real} has no real {split!r} pictures, it has {present}: "
                "prepare it with splits, or name others with --split and --held_out"
            )
        found.setdefault(
            split,
            RealPictures(
                manifest,
                rows,
                transform,
                views_per_picture=settings.views_per_picture,
                seed=settings.seed,
            ),
        )
    return Pictures(
        real=found[settings.split],
        train=found[TRAIN],
        held_out=found[settings.held_out],
        generated=generated,
        prompts=generated.prompts,
        seeks_windows=settings.real_transform == "crop",
    )


def real_views(settings: Namespace, sizes_px: set[tuple[int, int]], input_px: int) -> Transform:
    """How real pictures are shown, so that they have what generated ones have of detail.

    crop: squares of the generated pictures' side at native resolution, half of them on a defect,
    as stage 1 at tiny scale sees them; whole: squeezed to that square, as the paper's stage 1
    does. Both without flips, turns and colours: those are to enlarge the data, not to copy.
    """
    sides = {side for size in sizes_px for side in size}
    if settings.real_transform == "crop":
        if len(sides) != 1:
            raise ValueError(
                f"--generated holds pictures of {sorted(sizes_px)[:3]} px, expected squares of one "
                "size to cut the real ones to: compare whole pictures with --real_transform whole"
            )
        return crop_views(sides.pop(), settings.defect_probability)
    return whole_views(sides.pop() if len(sides) == 1 else input_px)


def draw(pictures: Pictures, judgement: Judgement) -> tuple[np.ndarray, np.ndarray]:
    """Real beside generated by type, and generated beside the nearest training views."""
    by_type = draw_by_type(
        pictures.real,
        pictures.generated,
        seen_real=judgement.seen_real,
        seen_generated=judgement.seen_generated,
    )
    return by_type, draw_neighbours(
        pictures.generated,
        pictures.train,
        judgement.neighbours,
        seeks_windows=pictures.seeks_windows,
    )


def _parse(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python -m experiments.fidelity",
        exit_on_error=False,
        allow_abbrev=False,
        description=__doc__,
    )
    add: Callable = parser.add_argument
    add("--real", type=str, required=True, help="manifest.parquet of prepare")
    add("--root", type=str, default="", help="data folder, where it has moved")
    add("--split", type=str, default=TRAIN, help="what generated pictures should look like")
    add("--held_out", type=str, default="val", help="real pictures the generator has not seen")
    add("--generated", type=str, required=True, help="folder of experiments.generate, or any")
    add("--extractor", type=str, required=True, help="'inception' or a timm name")
    add("--weights", type=str, required=True, help="local file of the extractor's weights")
    add("--pixel_mean", type=float | None, default=None, help="timm's own if not given")
    add("--pixel_deviation", type=float | None, default=None, help="timm's own if not given")
    add("--padding", type=str, default="", help="'same' for weights from TensorFlow")
    add("--real_transform", type=str, default="crop", help="crop or whole")
    add("--defect_probability", type=float, default=0.5, help="share of crops on a defect")
    add("--views_per_picture", type=int, default=1, help="crops cut from every real picture")
    add("--out", type=str, required=True, help="folder of the report")
    add("--overwrite", action="store_true", help="replace an older report")
    add("--experiment", type=str, default="", help="track it under this name")
    add("--output", type=str, default="mlruns", help="folder of the tracker")
    add("--batch_size", type=int, default=32)
    add("--workers", type=int, default=0, help="processes that open pictures")
    add("--device", type=str, default=default_device(), help="cpu, cuda, cuda:1")
    add("--seed", type=int, default=0, help="of crops and subsets")
    try:
        settings = parser.parse_args(list(argv))
    except ArgumentError as error:
        raise ValueError(f"fidelity: {str(error).splitlines()[0]}; see --help") from error
    check_settings(settings)
    return settings


def check_settings(settings: Namespace) -> None:
    """ValueError for a setting that cannot be."""
    if settings.real_transform not in ("crop", "whole"):
        raise ValueError(f"--real_transform is {settings.real_transform!r}: expected crop or whole")
    for name in ("views_per_picture", "batch_size"):
        if settings[name] < 1:
            raise ValueError(f"--{name} is {settings[name]}: expected 1 or more")
    if settings.real_transform == "whole" and settings.views_per_picture > 1:
        raise ValueError(
            f"--views_per_picture is {settings.views_per_picture}: a whole picture has one view, "
            "expected 1, or --real_transform crop"
        )


if __name__ == "__main__":
    run_command(main)
