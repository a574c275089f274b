"""Stage 2 at any width, with random weights."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.measuring.stage2_parts import (
    PAPER_SIZES,
    make_diffusion,
    make_paper_diffusion,
    make_stage2,
    name_defects,
    random_pictures,
)
from lightning_modules.mask_finetune import MaskFinetune
from tests.experiments.small_sizes import SMALL_STAGE2


def weights(module: torch.nn.Module) -> int:
    """The number of parameters."""
    return sum(weight.numel() for weight in module.parameters())


def test_full_width_has_the_papers_weights() -> None:
    with FakeTensorMode():
        model = make_stage2(make_paper_diffusion(), PAPER_SIZES)
        embedding = model.features.diffusion.image_encoder(torch.zeros(1, 3, 512, 512))
    diffusion = model.features.diffusion
    assert weights(diffusion.denoiser) == 859_520_964
    assert weights(diffusion.autoencoder) == 83_653_863
    assert (model.mask_generator.width, embedding.shape) == (256, (1, 512))


def test_small_model_names_masks(seed: int) -> None:
    model = name_defects(make_stage2(make_diffusion(SMALL_STAGE2), SMALL_STAGE2))
    assert isinstance(model, MaskFinetune)
    prediction = model.predict_image(random_pictures(SMALL_STAGE2)[0])
    assert prediction.type_scores.shape == (4,)
    assert prediction.anomaly_map.shape == (64, 64)
