"""The implicit captioner: an image embedding becomes a pseudo-caption (NOTES, main paper)."""

from torch import Tensor, nn


class ImplicitCaptioner(nn.Module):
    """Two linear layers from image to text space, 0.3 M parameters at 512 -> 768 (Table 3)."""

    def __init__(self, image_width: int, text_width: int, hidden_width: int = 256) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(image_width, hidden_width), nn.GELU(), nn.Linear(hidden_width, text_width)
        )

    def forward(self, image_embedding: Tensor) -> Tensor:
        """One pseudo-caption vector per image, (B, D_text), from (B, D_image)."""
        return self.project(image_embedding)
