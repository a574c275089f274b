"""Image regions -> vectors of a frozen encoder, from which a `Gallery` names them by example."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.known_weights import weights_file
from lightning_modules.nets.image_encoder import PixelStatistics, create_timm, read_timm, timm_name
from lightning_modules.weights_io import sha256_of

VIEWS = 8
# A square twice as wide as its region; 1.5 named as well, 3 worse by 0.02 on five real sets.
CONTEXT = 2.0
REGIONS_AT_ONCE = 16


class RegionEmbedding(nn.Module):
    """A frozen timm encoder that sees a square around each region, `side_px` wide.

    Of its maps at all strides it keeps the mean inside the mask, what this differs from the
    square's mean, and the deviation inside the mask: five sets were named 0.75 by these and 0.70
    by means of square and mask. weights, model_name: as PretrainedTimmImageEncoder takes them.
    Raises FileNotFoundError for weights that are missing, ValueError where they do not fit.
    """

    def __init__(self, weights: str, model_name: str = "", *, side_px: int = 128) -> None:
        super().__init__()
        self.side_px = side_px
        name = timm_name(model_name, weights)
        self.backbone = create_timm("encoder", name, features_only=True)
        self.pixels = PixelStatistics(self.backbone)
        read_timm(self.backbone, weights)
        self.requires_grad_(False).eval()
        self.width = 3 * sum(self.backbone.feature_info.channels())
        # What a vector depends on, so that a gallery of other vectors is known.
        digest = sha256_of(weights_file(weights))[:16]
        self.fingerprint = f"{name}, {side_px} px, {CONTEXT:g} x, {digest}"

    @torch.no_grad()
    def forward(self, image: Tensor, masks: Sequence[Tensor], views: int = 1) -> Tensor:
        """Vectors (R, views, D) of the regions in image (3, H, W) in [-1, 1].

        masks: R times (H, W) bool, each with a pixel; views: how many of a square's turns and
        mirrorings are seen, up to 8, the first as it lies. Vectors aren't of unit length: what is
        their scale is known from a gallery's examples.
        """
        device = self.pixels.mean.device
        vectors = []
        for start in range(0, len(masks), REGIONS_AT_ONCE):
            some = masks[start : start + REGIONS_AT_ONCE]
            batch = torch.stack([cut_square(image, one, self.side_px) for one in some]).to(device)
            seen = [self._pooled(turned(batch, view)) for view in range(views)]
            vectors.append(torch.stack(seen, dim=1))
        return torch.cat(vectors) if vectors else torch.zeros(0, views, self.width, device=device)

    def _pooled(self, squares: Tensor) -> Tensor:
        """Vectors (R, D) of squares (R, 4, s, s): pixels and the mask."""
        parts = []
        for features in self.backbone(self.pixels(squares[:, :3])):
            weight = functional.interpolate(squares[:, 3:], size=features.shape[-2:], mode="area")
            weight = (weight + 1e-4) / (weight + 1e-4).sum(dim=(2, 3), keepdim=True)
            inside = (features * weight).sum(dim=(2, 3), keepdim=True)
            spread = ((features - inside).square() * weight).sum(dim=(2, 3)).sqrt()
            inside, around = inside.flatten(1), features.mean(dim=(2, 3))
            # By the root of the count, so that each map has the same say.
            parts += [part / part.shape[1] ** 0.5 for part in (inside, inside - around, spread)]
        return torch.cat(parts, dim=1)


def cut_square(image: Tensor, mask: Tensor, side_px: int) -> Tensor:
    """The square around a region, (4, side_px, side_px): image (3, H, W) and mask (H, W) bool.

    Beyond the image its border goes on.
    """
    mask = mask.to(image.device)
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    side = max(1, round(CONTEXT * max(bottom - top, right - left)))
    first_y, first_x = round((top + bottom - side) / 2), round((left + right - side) / 2)
    place = torch.arange(side, device=image.device)
    y, x = place + first_y, place + first_x
    height, width = mask.shape
    pixels = image[:, y.clamp(0, height - 1)][:, :, x.clamp(0, width - 1)]
    is_inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))
    marked = mask[y.clamp(0, height - 1)][:, x.clamp(0, width - 1)] & is_inside
    square = torch.cat([pixels.float(), marked[None].to(pixels.dtype)])[None]
    size = (side_px, side_px)
    return functional.interpolate(square, size=size, mode="bilinear", antialias=side > side_px)[0]


def turned(squares: Tensor, view: int) -> Tensor:
    """Squares (..., s, s) as they lie for view 0, turned by quarters to 3, mirrored from 4 on."""
    return torch.rot90(squares.flip(-1) if view >= VIEWS // 2 else squares, view % 4, (-2, -1))
