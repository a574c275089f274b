"""Claims about stage 2's hybrid pyramid: what trains, and what a run says of it."""

from pathlib import Path

import pytest
import torch

from datamodules.vocabulary import Vocabulary
from lightning_modules.mask_finetune import RANDOM, MaskFinetune
from tests.lightning_modules.small_parts import (
    NAMES,
    SIDE_PX,
    defect_batch,
    save,
    small_diffusion,
    small_generator,
    train,
)


def small_stage(pyramid: str, encoder: str = "", *, stem: bool = False) -> MaskFinetune:
    """Stage 2 with the pyramid that these words mean."""
    module = MaskFinetune(
        small_diffusion(),
        small_generator(),
        RANDOM,
        warmup_steps=2,
        point_count=64,
        pyramid=pyramid,
        encoder=encoder,
        stem=stem,
        tile_px=SIDE_PX,
        tile_overlap_px=0,
    )
    module.set_vocabulary(Vocabulary.from_names(NAMES))
    module.measure(defect_batch().image)
    return module


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        (("diffusion", "", True), ("diffusion", "none", "yes")),
        (("diffusion+timm", "test_resnet", False), ("diffusion+timm", "test_resnet", "no")),
    ],
)
def test_run_says_which_pyramid_it_had(
    words: tuple[str, str, bool], tags: tuple[str, str, str]
) -> None:
    said = small_stage(words[0], words[1], stem=words[2]).tags()
    assert (said["pyramid"], said["encoder"], said["stem"]) == tags


def test_encoder_trains_and_the_diffusion_model_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = small_stage("diffusion+timm", "test_resnet")
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    train(module, tmp_path, steps=3)
    moved = {name for name, weight in module.named_parameters() if not weight.equal(before[name])}
    assert {name for name in before if name.startswith("pyramid.encoder.")} <= moved
    assert not any(name.startswith("features.") for name in moved)


def test_hybrid_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    saved, fresh = (small_stage("diffusion+timm", "test_resnet") for _ in range(2))
    fresh.restore(save(saved, tmp_path / "last.ckpt"))
    tiles = defect_batch().image
    assert fresh.eval().score_tiles(tiles)[0].equal(saved.eval().score_tiles(tiles)[0])
