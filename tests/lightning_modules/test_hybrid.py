"""Claims about stage 2's hybrid pyramid: what trains, and what a run says of it."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from datamodules.vocabulary import Vocabulary
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.weights_io import RANDOM
from tests.lightning_modules.small_parts import (
    NAMES,
    SIDE_PX,
    defect_batch,
    save,
    small_diffusion,
    small_generator,
    train,
)


def small_stage(
    pyramid: str, encoder: str = "", *, stem: bool = False, weights: str = ""
) -> MaskFinetune:
    """Stage 2 with the pyramid that these words mean."""
    module = MaskFinetune(
        small_diffusion(),
        small_generator(),
        RANDOM,
        warmup_steps=2,
        point_count=64,
        pyramid=pyramid,
        encoder=encoder,
        encoder_weights=weights,
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


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file with the state dict of a whole timm net, whose norms have seen some images."""
    torch.manual_seed(5)
    net = timm.create_model("test_resnet")
    net(torch.randn(4, 3, 64, 64))
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_encoder_starts_from_its_file_and_keeps_the_norms_statistics(
    weights: Path, tmp_path: Path
) -> None:
    module = small_stage("diffusion+timm", "test_resnet", weights=str(weights))
    assert module.tags()["encoder_weights"] == str(weights)
    module.load()
    encoder = module.pyramid.encoder
    assert encoder is not None
    net = timm.create_model("test_resnet", features_only=True)
    known = net.state_dict()
    read = load_file(weights)
    net.load_state_dict({name: value for name, value in read.items() if name in known})
    image = defect_batch().image
    maps = zip(encoder.train().backbone(image), net.eval()(image), strict=True)
    assert all(torch.equal(ours, its) for ours, its in maps)
    before = {name: value.clone() for name, value in encoder.backbone.named_buffers()}
    train(module, tmp_path, steps=2)
    assert all(value.equal(before[name]) for name, value in encoder.backbone.named_buffers())


def test_encoder_weights_without_an_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no encoder: set pyramid: diffusion\+timm"):
        small_stage("diffusion", stem=True, weights="some.safetensors")
