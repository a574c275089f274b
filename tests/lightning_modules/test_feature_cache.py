"""Holds stage 2 on kept features: the frozen pass runs once per variant, and the loss stays."""

from pathlib import Path

import pytest

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.weights_io import RANDOM
from tests.lightning_modules.small_parts import (
    NAMES,
    SIDE_PX,
    defect_batch,
    small_diffusion,
    small_generator,
    train,
)


def caching_finetune(feature_cache_gb: float = 1.0) -> MaskFinetune:
    """Stage 2 that keeps frozen features."""
    module = MaskFinetune(
        small_diffusion(),
        small_generator(),
        RANDOM,
        point_count=64,
        stem=True,
        feature_cache_gb=feature_cache_gb,
        tile_px=SIDE_PX,
        tile_overlap_px=16,
    )
    module.set_vocabulary(Vocabulary.from_names(NAMES))
    return module


def batch_of_variants() -> Batch:
    """The four images, each the only variant of itself."""
    batch = defect_batch()
    batch.variant_ids = [1, 2, 3, 4]
    return batch


def test_frozen_pass_runs_once_per_variant(seed: int) -> None:
    module, taken = caching_finetune(), []
    module.features.register_forward_pre_hook(lambda _, read: taken.append(len(read[0])))
    for _ in range(3):
        module.training_step(batch_of_variants(), 0)
    assert taken == [4]


def test_kept_features_of_ever_new_crops_are_refused(tmp_path: Path) -> None:
    module = caching_finetune()
    with pytest.raises(ValueError, match=r"new at each turn: set .*variants") as caught:
        train(module, tmp_path, steps=1)
    assert "\n" not in str(caught.value)
