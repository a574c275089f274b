"""The report of `fidelity.py`: its text, and the tracked run that it may become."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from jsonargparse import Namespace

from datamodules.manifest import Manifest
from experiments.judging.judgement import Judgement, Pictures
from experiments.runs import RESULTS_NAME, initialise_tracking, run_logger
from experiments.tables import Table, metrics_table, to_markdown

TEXT_NAME = "results.md"
PICTURES = ("real_and_generated.png", "nearest_neighbours.png")
FILES = (RESULTS_NAME, TEXT_NAME, *PICTURES)
NAMED_SETTINGS = (
    "extractor",
    "pixel_mean",
    "pixel_deviation",
    "padding",
    "split",
    "held_out",
    "real_transform",
    "defect_probability",
    "views_per_picture",
    "seed",
)


def describe_settings(
    settings: Namespace, manifest: Manifest, pictures: Pictures
) -> dict[str, str]:
    """What the figures depend on, in words."""
    return {
        **{name: str(settings[name]) for name in NAMED_SETTINGS},
        "weights_sha256": hashlib.sha256(Path(settings.weights).read_bytes()).hexdigest(),
        "manifest_sha256": manifest.sha256,
        "split_sha256": manifest.split_sha256,
        "generated": settings.generated,
        "generated_pictures": str(len(pictures.generated)),
    }


def to_text(figures: Mapping[str, float], judgement: Judgement, about: Mapping[str, str]) -> str:
    """The report in Markdown: figures, doubts, types, settings."""
    ours, theirs = Counter(judgement.seen_generated.kinds), Counter(judgement.seen_real.kinds)
    types = Table(
        "Views of each type",
        ("type", "real", "generated"),
        tuple((kind or "unknown", theirs[kind], ours[kind]) for kind in sorted(theirs | ours)),
    )
    tables = [
        metrics_table("Real and generated", figures),
        types,
        Table("Settings", ("setting", "value"), tuple(about.items())),
    ]
    doubts = "".join(f"- {doubt}\n" for doubt in judgement.doubts)
    return "\n\n".join([to_markdown(tables[0]), doubts, *map(to_markdown, tables[1:])]) + "\n"


def track(settings: Namespace, figures: Mapping[str, float], about: Mapping[str, str]) -> None:
    """The figures and files of the report as one tracked run."""
    output, folder = Path(settings.output), Path(settings.out)
    initialise_tracking(output)
    tags = {"stage": "fidelity", "extractor": settings.extractor}
    logger = run_logger(output, settings.experiment, folder.name, tags, run_directory=folder)
    logger.log_hyperparams(about)
    logger.log_metrics(figures)
    for name in FILES:
        logger.log_artifact(folder / name)
    logger.close()
