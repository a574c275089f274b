"""How far an image is from its restoration, and what of it the restoration is made from (FAIR).

Liu et al. 2023 (arXiv 2309.07068). Images are (B, 3, H, W) RGB in [0, 1]. The net between is in
`nets/restoration_unet.py`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.full_precision import in_full_precision

LUMA = (0.299, 0.587, 0.114)
# Linear sRGB to CIE XYZ under D65, and that white's own XYZ.
TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE_XYZ = (0.95047, 1.0, 1.08883)


def to_grey(image: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of an image."""
    return (image * image.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def high_pass(grey: Tensor, *, cutoff_bins: float = 30.0, order: int = 2) -> Tensor:
    """What a Butterworth filter leaves of grey (B, 1, H, W); its mean is zero.

    H = 1 / (1 + (cutoff / D) ** (2 order)), D the distance from the mean's bin of the spectrum.
    """
    height, width = grey.shape[-2:]
    rows = torch.fft.fftfreq(height, 1 / height, device=grey.device)
    columns = torch.fft.rfftfreq(width, 1 / width, device=grey.device)
    distance = torch.hypot(rows[:, None], columns)
    gain = 1 / (1 + (cutoff_bins / (distance + 1e-6)) ** (2 * order))
    return torch.fft.irfft2(torch.fft.rfft2(grey.float()) * gain, s=(height, width))


@in_full_precision
def structural_similarity(one: Tensor, other: Tensor) -> Tensor:
    """Mean SSIM of each image (B,), 1 for equal ones (Wang et al. 2004).

    Gaussian windows of 11 px and deviation 1.5 px, mirrored at the rim; C1 = 0.01², C2 = 0.03².
    """
    rows, columns = (window_matrix(length).to(one) for length in one.shape[-2:])
    means = rows @ torch.stack([one, other, one * one, other * other, one * other]) @ columns.T
    a, b, aa, bb, ab = means
    luminance = (2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2)
    structure = (2 * (ab - a * b) + 0.03**2) / (aa - a * a + bb - b * b + 0.03**2)
    return (luminance * structure).flatten(1).mean(1)


def window_matrix(length: int) -> Tensor:
    """(length, length) weights: row i holds those of the places in the window around place i.

    On a CPU two products with such a matrix take a fraction of a convolution of single planes.
    """
    offsets = torch.arange(-5, 6)
    weights = (-(offsets**2) / (2 * 1.5**2)).exp()
    places = (torch.arange(length)[:, None] + offsets).abs()
    places = length - 1 - (length - 1 - places).abs()
    matrix = torch.zeros(length, length)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(length, -1))


def spectrum_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of two images' spectra, orthonormal: the paper's frequency loss."""
    return torch.fft.fft2(one - other, norm="ortho").abs().mean()


def gradient_magnitude(image: Tensor) -> Tensor:
    """Length of the Prewitt gradient of each channel, (B, 3, H, W)."""
    slope = image.new_tensor([1.0, 0.0, -1.0]) / 3
    kernels = torch.stack([slope.expand(3, 3), slope[:, None].expand(3, 3)])[:, None]
    found = functional.conv2d(image.flatten(0, 1)[:, None], kernels, padding=1)
    return found.square().sum(1).add(1e-12).sqrt().view_as(image)


def gradient_dissimilarity(one: Tensor, other: Tensor) -> Tensor:
    """One minus the gradient similarity of two images, (B, 1, H, W): 0 where they are alike.

    MSGMS (Zavrtanik et al. 2021) at the whole and the half size, the mean of all channels.
    """
    total = torch.zeros_like(one)
    for factor in (1, 2):
        a, b = (gradient_magnitude(functional.avg_pool2d(x, factor)) for x in (one, other))
        similarity = (2 * a * b + 0.0026) / (a * a + b * b + 0.0026)
        total += functional.interpolate(
            similarity, size=one.shape[-2:], mode="bilinear", align_corners=False
        )
    return (1 - total / 2).mean(1, keepdim=True)


def to_lab(image: Tensor) -> Tensor:
    """CIE L*, a*, b* under D65 of an sRGB image, (B, 3, H, W): L* in [0, 100]."""
    linear = torch.where(
        image > 0.04045, ((image.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, image / 12.92
    )
    matrix = image.new_tensor(TO_XYZ) / image.new_tensor(WHITE_XYZ)[:, None]
    xyz = torch.einsum("ij,bjhw->bihw", matrix, linear)
    limit = (6 / 29) ** 3
    root = torch.where(
        xyz > limit, xyz.clamp(min=limit) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29
    )
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def colour_difference(one: Tensor, other: Tensor) -> Tensor:
    """Squared distance of a* and b*, (B, 1, H, W), times FAIR's 0.0003; lightness has no say."""
    apart = to_lab(one)[:, 1:] - to_lab(other)[:, 1:]
    return 0.0003 * apart.square().sum(1, keepdim=True)


@in_full_precision
def restoration_map(image: Tensor, restored: Tensor, *, window_px: int = 21) -> Tensor:
    """Anomaly map (B, 1, H, W) of images and what was restored: gradients and colours apart.

    0 where they are equal; smoothed by a box, as if all were alike beyond the rim.
    """
    apart = gradient_dissimilarity(image, restored) + colour_difference(image, restored)
    return functional.avg_pool2d(apart, window_px, stride=1, padding=window_px // 2)
