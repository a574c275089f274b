"""The ancestor's way to the same maps, at a small size."""

import pytest
import torch

from experiments.measuring.ancestor_features import AncestorFeatures
from experiments.measuring.stage2_parts import make_diffusion, random_pictures
from lightning_modules.nets.diffusion_features import DiffusionFeatures
from tests.experiments.small_sizes import SMALL_STAGE2
from tests.lightning_modules.small_parts import small_diffusion


def test_maps_of_one_crop_are_ours_in_every_bit(seed: int) -> None:
    diffusion, crop = make_diffusion(SMALL_STAGE2), random_pictures(SMALL_STAGE2)[:1]
    ours = DiffusionFeatures(diffusion, 50, "full")(crop)
    theirs = AncestorFeatures(diffusion, 50)(crop)
    assert all(torch.equal(own, other) for own, other in zip(ours, theirs, strict=True))
    assert len({float(each.mean()) for each in theirs}) == 8


def test_crops_are_taken_one_after_the_other_and_both_nets_to_their_ends(seed: int) -> None:
    diffusion = make_diffusion(SMALL_STAGE2)
    sizes: list[int] = []
    for end in (diffusion.denoiser.unet.conv_out, diffusion.autoencoder.vae.decoder.conv_out):
        end.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    AncestorFeatures(diffusion, 50)(random_pictures(SMALL_STAGE2))
    assert sizes == [1, 1, 1, 1]


def test_hooks_are_gone_after_a_pass(seed: int) -> None:
    diffusion = make_diffusion(SMALL_STAGE2)
    AncestorFeatures(diffusion, 50)(random_pictures(SMALL_STAGE2))
    assert not any(module._forward_pre_hooks for module in diffusion.modules())


def test_autoencoder_that_is_not_the_ancestors_is_refused() -> None:
    with pytest.raises(ValueError, match="DctAutoencoder: expected KlAutoencoder"):
        AncestorFeatures(small_diffusion(), 50)
