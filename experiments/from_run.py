"""A run that goes on from another one's weights, with corrected images beside its own.

What that changed is measured in `inference/changes.py`.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from datamodules.about import source_class_path
from datamodules.preparing.preparation import add_corrections
from experiments.checkpoints import directory_of, reopen
from experiments.config import build_data, value_at
from experiments.config_layers import merge_layers
from experiments.serving.corrections import is_corrections
from experiments.train import prepare_alone
from lightning_modules.weights_io import find_checkpoint

LABELS = "labels"
CORRECTED = "corrected"  # the tag with the folder of the corrected images
# Of a corrected set alone: all of it trains, in the names that it has.
WHOLE = {"train_fraction": 1, "val_fraction": 0, "test_fraction": 0}
AS_IT_IS = {LABELS: "", "held_out_types": [], "test_types": "all"}

logger = logging.getLogger(__name__)


def with_corrections(
    raw: Mapping[str, object], before: Mapping[str, object], run: Path
) -> dict[str, object]:
    """The configuration on the data of the run `before` with that of `raw` added to it.

    raw: its data has the source and root of corrected images. Raises FileNotFoundError or
    ValueError, one line, where there are none, or the older data is gone.
    """
    settings = value_at(raw, "data.init_args")
    if not isinstance(settings, Mapping) or not settings.get("source"):
        raise ValueError(
            "--from goes on with corrected images beside those of the run: give them as "
            "--source coco --root FOLDER, or in another source's layout"
        )
    root = str(settings.get("root") or "")
    if root and is_corrections(Path(root)):
        coco = {"class_path": source_class_path("coco")}
        raw = merge_layers(raw, {"data": {"init_args": {"source": coco}}})
    old = build_data(before)
    reopen(old, directory_of(find_checkpoint(run)))
    prepare_alone(old)
    old.setup("fit")
    corrected = build_data(merge_layers(raw, {"data": {"init_args": WHOLE | AS_IT_IS}}))
    prepare_alone(corrected)
    corrected.setup("fit")
    folder = Path(corrected.manifest_folder)
    folder.mkdir(parents=True, exist_ok=True)
    words = str(settings.get(LABELS) or value_at(before, f"data.init_args.{LABELS}") or "")
    with FileLock(folder / ".prepare.lock"):  # one process of several after the other
        index, left_out = add_corrections(old.index, corrected.index, folder, words)
    if left_out:
        logger.warning(
            "%d of %d corrected images are alike to images of val or test and train nothing, the "
            "first is %s (%s)",
            *(len(left_out), len(corrected.index), left_out[0].image, left_out[0].reason),
        )
    new = {"manifest": str(index.path), LABELS: words}
    tags = {"from": str(run), CORRECTED: root, "corrected_sha256": corrected.index.sha256}
    return merge_layers(raw, {"data": {"init_args": new}, "tags": tags})
