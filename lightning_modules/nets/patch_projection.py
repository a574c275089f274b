"""A projection of patch tokens that learns which place is which: the DiffuseDefect paper's MuSc."""

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE = 0.07
# Strength of the changes of colour between two looks at an image in [-1, 1].
CONTRAST, BRIGHTNESS, NOISE = 0.2, 0.2, 0.05


class PatchProjection(nn.Module):
    """Two layers on tokens of `width`; 2,361,856 weights at 768, the width of ViT-B/16."""

    def __init__(self, width: int = 768, hidden_width: int = 1024, out_width: int = 1536) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            nn.Linear(width, hidden_width), nn.ReLU(), nn.Linear(hidden_width, out_width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps (B, out_width, h, w) of maps (B, width, h, w); ValueError for another width."""
        if tokens.shape[1] != self.width:
            raise ValueError(
                f"projection.width is {self.width}, the tokens have {tokens.shape[1]} entries: set "
                "it to that, and take layers of one width"
            )
        return self.layers(tokens.movedim(1, -1)).movedim(-1, 1)


def two_looks(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (B, 3, s, s) in [-1, 1] twice, in other light and noise; every place stays."""

    def look() -> Tensor:
        size = (len(images), 1, 1, 1)
        contrast, light = (
            torch.rand(size, generator=generator, device=images.device) * 2 - 1 for _ in range(2)
        )
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        changed = images * (1 + CONTRAST * contrast) + BRIGHTNESS * light + NOISE * noise
        return changed.clamp(-1, 1)

    return look(), look()


def contrastive_loss(first: Tensor, second: Tensor) -> Tensor:
    """InfoNCE of vectors (N, D) and (N, D) of the same N places, in both directions.

    Oord et al., 2018, at a temperature of 0.07: of all places of the other look the same one is the
    most alike.
    """
    one, other = (functional.normalize(vectors, dim=1) for vectors in (first, second))
    likeness = one @ other.T / TEMPERATURE
    wanted = torch.arange(len(one), device=one.device)
    losses = [functional.cross_entropy(way, wanted) for way in (likeness, likeness.T)]
    return (losses[0] + losses[1]) / 2
