"""An image drawn out of shape and back again, and what a field of offsets costs (DMAD).

Liu et al. 2023 (CVPR, arXiv 2303.05047). A field is (B, 2, H, W), x before y: how far from each
place the value is that comes there, where the image spans [-1, 1]. The net that finds fields is in
`nets/offset_net.py`.
"""

import torch
from torch import Tensor
from torch.nn import functional

# Places in a row that the coarse coordinate takes for one.
COARSE_PX = 4


def coordinates(height: int, width: int) -> Tensor:
    """Where each place is, (4, height, width): of its row fine and coarse, of its column the same.

    Sides are multiples of 4, from 8 on. The coarse one goes from -1 to 1 in steps of four places,
    the fine one is what they leave of a straight line, less one.
    """
    pairs = []
    for length in (height, width):
        place = torch.arange(length)
        coarse = place.div(COARSE_PX, rounding_mode="floor") / (length / COARSE_PX - 1)
        line = place / (length - 1)
        pairs.append(torch.stack([2 * (line - coarse) - 1, 2 * coarse - 1]))
    rows, columns = pairs
    shape = (2, height, width)
    return torch.cat([rows[:, :, None].expand(shape), columns[:, None].expand(shape)])


def warp(image: Tensor, field: Tensor) -> Tensor:
    """Image (B, C, H, W) whose places took what lies where the field points, bilinear.

    What points beyond the rim takes the rim.
    """
    height, width = image.shape[-2:]
    x, y = (
        torch.linspace(-1, 1, length, dtype=image.dtype, device=image.device)
        for length in (width, height)
    )
    still = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    grid = (still + field).clamp(-1, 1).permute(0, 2, 3, 1)
    return functional.grid_sample(image, grid.to(image.dtype), align_corners=True)


def warp_twice(image: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Image (B, C, H, W) under one field and then under another."""
    return warp(warp(image, first), second)


def lengths(field: Tensor) -> Tensor:
    """How long each place's offset is, (B, 1, H, W)."""
    return torch.linalg.vector_norm(field, dim=1, keepdim=True)


def roughness(field: Tensor) -> Tensor:
    """Mean distance of offsets from their eight neighbours' mean, x and y added up; zero beyond.

    0 inside of a constant field.
    """
    kernel = torch.full((1, 2, 3, 3), -1 / 8).to(field)
    kernel[..., 1, 1] = 1
    return functional.conv2d(field, kernel, padding=1).abs().mean()


def deformation_loss(
    image: Tensor, bent: Tensor, forth: tuple[Tensor, Tensor], back: tuple[Tensor, Tensor]
) -> Tensor:
    """What fields cost: long ones, rough ones, and an image that does not come back.

    image, bent: (B, C, H, W) before and after `forth`; forth, back: coarse and fine field, the way
    back fine first. Long fields of the way back cost nothing.
    """
    length = sum((lengths(field).mean() for field in forth), image.new_zeros(()))
    rough = sum((roughness(field) for field in (*forth, *back)), image.new_zeros(()))
    coarse, fine = back
    return length + rough + functional.mse_loss(warp_twice(bent, fine, coarse), image)


def magnitude(back: tuple[Tensor, Tensor]) -> Tensor:
    """How far each place of the image was moved, (B, 1, H, W), by the way back, coarse and fine."""
    coarse, fine = back
    return warp(lengths(fine), coarse) + lengths(coarse)
