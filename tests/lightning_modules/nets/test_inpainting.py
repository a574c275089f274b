"""Holds that painting into an image keeps what was not asked to change."""

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.inpainting import free_cells, inpaint_images, known_region
from lightning_modules.nets.sampler import METHODS
from tests.lightning_modules.small_parts import defect_batch, small_diffusion


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    """A small diffusion model whose denoiser says something."""
    torch.manual_seed(0)
    diffusion = small_diffusion().eval()
    diffusion.measure(defect_batch().image)
    nn.init.normal_(diffusion.denoiser.unet.conv_out.weight, std=0.05)
    return diffusion


def square_mask() -> Tensor:
    """One mask of 64 px that covers four cells of 8 px in the middle, two of them by one pixel."""
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, 25:33, 24:40] = True
    return mask


def paint(model: DiffusionModel, image: Tensor, mask: Tensor, **changes: object) -> Tensor:
    settings: dict = {"seeds": [3], "steps": 4, "guidance_scale": 2.0, **changes}
    return inpaint_images(model, image, mask, ["steel with crack"], **settings)


def test_cells_with_any_pixel_of_the_mask_are_free() -> None:
    cells = free_cells(square_mask(), 8)
    assert cells.shape == (1, 1, 8, 8)
    assert torch.nonzero(cells[0, 0]).tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]


@pytest.mark.parametrize("method", METHODS)
def test_cells_without_mask_keep_the_image_that_the_autoencoder_gives_back(
    model: DiffusionModel, method: str
) -> None:
    image = defect_batch().image[3:]
    result = paint(model, image, square_mask(), method=method)
    kept = ~free_cells(square_mask(), 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    same = model.autoencoder.decode(model.encode(image))
    torch.testing.assert_close(result[kept.expand_as(result)], same[kept.expand_as(same)])
    assert (result - same).abs().max() > 0.05


def test_known_cells_are_on_the_path_from_image_to_noise() -> None:
    clean, noise = torch.full((1, 2, 4, 4), 2.0), torch.full((1, 2, 4, 4), -1.0)
    alpha_bar = torch.tensor([1.0, 0.64, 0.0])
    is_free = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    is_free[..., 0] = True
    known = known_region(clean, noise, is_free, alpha_bar)
    z = torch.full((1, 2, 4, 4), 7.0)
    # sqrt(0.64) * 2 - sqrt(0.36) * 1 = 1.0
    for t, value in {0: 2.0, 1: 1.0, 2: -1.0}.items():
        row = known(z, t)[0, 0, 0]
        torch.testing.assert_close(row, torch.tensor([7.0, value, value, value]))
