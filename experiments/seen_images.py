"""How many test images the tested weights have learned from, in their own training or in stage 1's.

Looked for as `prepare` looks for copies: the same pixels, turned, mirrored or recompressed.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from datamodules.dataset import DefectDataset
from datamodules.imdd import IMDDDataModule
from datamodules.manifest import Manifest
from datamodules.preparing.inspection import Inspection, inspect
from datamodules.preparing.preparation import compare_images
from experiments.checkpoints import CONFIG_NAME, PRETRAINED_KEY, directory_of, reopen
from experiments.config import build_data, read_layer
from experiments.run_logger import RunLogger
from lightning_modules.weights_io import RANDOM, find_checkpoint

SEEN_METRIC = "data/test_images_seen"

logger = logging.getLogger(__name__)


def count_seen(weights: Path, tested: IMDDDataModule, log: RunLogger) -> dict[str, float]:
    """The number by its metric's name, logged; nothing, with a warning, where data is gone."""
    try:
        learned = [one for data in data_below(weights) for one in training_images(data)]
    except (FileNotFoundError, ValueError) as error:
        logger.warning(
            "whether the weights have seen test images is not known, their data can't be read: %s",
            error,
        )
        return {}
    shown = tested.test_dataloader().dataset
    assert isinstance(shown, DefectDataset)
    asked = look_at_rows(tested.index, shown.rows)
    pairs = compare_images([*asked, *learned]).pairs
    seen = {pair.first for pair in pairs if pair.first < len(asked) <= pair.second}
    if seen:
        logger.warning(
            "%d of %d test images are alike to what the weights learned from, the first is %s: "
            "figures on them are too good",
            *(len(seen), len(asked), asked[min(seen)].record.image),
        )
    figure = {SEEN_METRIC: float(len(seen))}
    log.log_metrics(figure)
    return figure


def data_below(run: Path) -> list[IMDDDataModule]:
    """The training data, opened, of a run and of those that its model names: stage 1, teacher.

    Raises FileNotFoundError or ValueError where one can't be.
    """
    directory = directory_of(find_checkpoint(run))
    raw = read_layer(directory / CONFIG_NAME)
    data = build_data(raw)
    reopen(data, directory)
    data.prepare_data()
    data.setup("fit")
    model = raw["model"]
    settings = model.get("init_args", {}) if isinstance(model, dict) else {}
    below = {Path(settings.get(PRETRAINED_KEY, RANDOM)), *runs_named(model)} - {Path(RANDOM)}
    return [data, *(one for path in sorted(below) for one in data_below(path))]


def runs_named(value: object) -> Iterator[Path]:
    """The run directories that a configuration names anywhere."""
    if isinstance(value, str) and value and (Path(value) / CONFIG_NAME).is_file():
        yield Path(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from runs_named(one)


def training_images(data: IMDDDataModule) -> list[Inspection]:
    """What copies are known by, of each image that trains."""
    return look_at_rows(data.index, data.training_dataset().rows)


def look_at_rows(index: Manifest, rows: np.ndarray) -> list[Inspection]:
    """What copies are known by, of these rows; of a file that can't be read any more nothing."""
    records = [index[int(row)] for row in rows]
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(partial(inspect, root=index.root), records))
    return [one for one in looks if not one.problem]
