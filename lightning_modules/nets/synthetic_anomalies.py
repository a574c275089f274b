"""Anomalies painted into good images, for systems that learn from good parts alone (FAIR).

Half of them are a turned piece of the image itself, pasted elsewhere (CutPaste, Li et al. 2021),
half are its recoloured texture in spots of Perlin noise (DRAEM, Zavrtanik et al. 2021). Images are
(3, H, W) in [0, 1] of any size; random numbers come from a generator on the CPU.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as colours


@dataclass(frozen=True, slots=True)
class SyntheticAnomalies:
    """probability: of an anomaly in an image; rotation_probability: that it is turned before."""

    probability: float = 0.5
    rotation_probability: float = 0.3

    def __call__(self, images: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) with anomalies, and the same without; one seed for each."""
        pairs = [
            self.paint(image, Generator().manual_seed(seed))
            for image, seed in zip(images, seeds, strict=True)
        ]
        spoilt, clean = zip(*pairs, strict=True)
        return torch.stack(spoilt), torch.stack(clean)

    def paint(self, image: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """One image with an anomaly, or none, and without; both turned or neither."""
        if draw(generator) < self.rotation_probability:
            image = turned(image, draw(generator, -90, 90))
        if draw(generator) >= self.probability:
            return image, image
        if draw(generator) < 0.5:
            return paste_piece(image, generator), image
        spots = perlin_noise(image.shape[-2:], generator) > 0.5
        return blend_texture(image, spots.to(image), generator), image


def draw(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    """A uniform random number in [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def draw_integer(generator: Generator, low: int, until: int) -> int:
    """A random integer from `low` up to, but without, `until`."""
    return int(torch.randint(low, until, (), generator=generator))


def turned(image: Tensor, degrees: float) -> Tensor:
    """The image turned about its centre; corners that this uncovers are black."""
    return colours.rotate(image, degrees, interpolation=InterpolationMode.BILINEAR)


def paste_piece(image: Tensor, generator: Generator) -> Tensor:
    """The image with a piece of itself, turned about its own corner, at another place.

    From a random corner 80 to 90 % of each side, cut at the border; turned by whole radians in
    -6 to 5, an oddity of the published code that is kept: what this uncovers is black.
    """
    height, width = image.shape[-2:]
    top, left = draw_integer(generator, 0, height), draw_integer(generator, 0, width)
    sides = [int(length * draw(generator, 0.8, 0.9)) for length in (height, width)]
    piece = image[:, top : top + sides[0], left : left + sides[1]]
    piece = turn_about_corner(piece, float(draw_integer(generator, -6, 6)))
    rows, columns = piece.shape[-2:]
    top = draw_integer(generator, 0, height - rows + 1)
    left = draw_integer(generator, 0, width - columns + 1)
    pasted = image.clone()
    pasted[:, top : top + rows, left : left + columns] = piece
    return pasted


def turn_about_corner(image: Tensor, radians: float) -> Tensor:
    """The image turned about its first pixel, within its own frame, black where nothing comes."""
    rows, columns = (torch.arange(length, device=image.device) for length in image.shape[-2:])
    y, x = rows[:, None].to(image.dtype), columns.to(image.dtype)
    cosine, sine = math.cos(radians), math.sin(radians)
    source = torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)
    last = source.new_tensor([max(1, length - 1) for length in reversed(image.shape[-2:])])
    grid = 2 * source / last - 1
    return functional.grid_sample(image[None], grid[None], align_corners=True)[0]


def blend_texture(image: Tensor, spots: Tensor, generator: Generator) -> Tensor:
    """The image with its own recoloured texture in spots (H, W) of 0 and 1, partly transparent."""
    chosen = torch.randperm(len(RECOLOURINGS), generator=generator)[:3].tolist()
    texture = image
    for index in chosen:
        texture = RECOLOURINGS[index](texture, generator).clamp(0, 1)
    share = draw(generator, 0.0, 0.8)
    return image + spots * (1 - share) * (texture - image)


def perlin_noise(size_px: Sequence[int], generator: Generator) -> Tensor:
    """Perlin noise (H, W), about in [-1, 1], of 1 to 32 cells along each side, turned at random."""
    cells = [2 ** draw_integer(generator, 0, 6) for _ in range(2)]
    angles = 2 * math.pi * torch.rand(cells[0] + 1, cells[1] + 1, generator=generator)
    slopes = torch.stack([angles.cos(), angles.sin()])
    places = [torch.arange(n) * (c / n) for n, c in zip(size_px, cells, strict=True)]
    y, x = torch.meshgrid(*places, indexing="ij")
    row, column = y.long(), x.long()
    y, x = y - row, x - column
    corners = [
        slopes[0, row + i, column + j] * (y - i) + slopes[1, row + i, column + j] * (x - j)
        for i in (0, 1)
        for j in (0, 1)
    ]
    smooth_y, smooth_x = (t**3 * (t * (6 * t - 15) + 10) for t in (y, x))
    above, below = corners[0].lerp(corners[1], smooth_x), corners[2].lerp(corners[3], smooth_x)
    noise = math.sqrt(2) * above.lerp(below, smooth_y)
    return turned(noise[None], draw(generator, -90, 90))[0]


def change_gamma(image: Tensor, generator: Generator) -> Tensor:
    """Each channel to its own power in 0.5 to 2."""
    return image ** (0.5 + 1.5 * torch.rand(3, 1, 1, generator=generator)).to(image)


def change_brightness(image: Tensor, generator: Generator) -> Tensor:
    """Times 0.8 to 1.2, and up to 30 of 255 levels more or less."""
    return image * draw(generator, 0.8, 1.2) + draw(generator, -30, 30) / 255


def change_sharpness(image: Tensor, generator: Generator) -> Tensor:
    """Blurred or sharpened."""
    return colours.adjust_sharpness(image, draw(generator, 0, 2))


def change_hue(image: Tensor, generator: Generator) -> Tensor:
    """Another hue and saturation, by up to 50 of 255 levels."""
    redder = colours.adjust_hue(image, draw(generator, -50, 50) / 255)
    return colours.adjust_saturation(redder, 1 + draw(generator, -50, 50) / 255)


def solarize(image: Tensor, generator: Generator) -> Tensor:
    """Bright pixels inverted, in every second image."""
    threshold = draw(generator, 32, 128) / 255
    return colours.solarize(image, threshold) if draw(generator) < 0.5 else image


def posterize(image: Tensor, generator: Generator) -> Tensor:
    """One to eight bits of each level."""
    levels = 2 ** draw_integer(generator, 1, 9)
    return (image * levels).floor().clamp(max=levels - 1) / levels


def turn(image: Tensor, generator: Generator) -> Tensor:
    """Turned by up to 45 degrees."""
    return turned(image, draw(generator, -45, 45))


# DRAEM's, of which three are drawn.
RECOLOURINGS: tuple[Callable[[Tensor, Generator], Tensor], ...] = (
    change_gamma,
    change_brightness,
    change_sharpness,
    change_hue,
    solarize,
    posterize,
    lambda image, generator: 1 - image,
    lambda image, generator: colours.autocontrast(image),
    lambda image, generator: colours.equalize(image),
    turn,
)
