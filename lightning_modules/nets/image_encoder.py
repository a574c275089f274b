"""Image towers in front of the implicit captioner: a small timm net, and CLIP's by name."""

import timm
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lightning_modules.nets.hub import load_from_hub

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class ImageEncoder(nn.Module):
    """What the system needs of an image tower: one embedding per image, `width` wide."""

    width: int

    def load(self) -> None:
        """Reads the weights; nothing where the tower learns with stage 1."""

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of image (B, 3, H, W) in [-1, 1]."""
        raise NotImplementedError


class TimmImageEncoder(ImageEncoder):
    """A timm backbone that is trained with stage 1; its pooled features are the embedding."""

    def __init__(self, model_name: str = "mobilenetv3_small_050") -> None:
        super().__init__()
        self.backbone = timm.create_model(model_name, pretrained=False, num_classes=0)
        with torch.no_grad():
            probe = torch.zeros(1, 3, 64, 64, device=next(self.backbone.parameters()).device)
            self.width = int(self.backbone.eval()(probe).shape[1])
        self.backbone.train()  # Lightning leaves each module in the mode that it finds

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of image (B, 3, H, W) in [-1, 1]."""
        return self.backbone(image)


class ClipImageEncoder(ImageEncoder):
    """CLIP's frozen image tower, by hub name or local folder (ViT-B/16: 512-d)."""

    def __init__(
        self,
        pretrained: str = "openai/clip-vit-base-patch16",
        width: int = 512,
        image_size_px: int = 224,
        patch_px: int = 16,
        layers: int = 12,
        heads: int = 12,
        hidden_width: int = 768,
    ) -> None:
        super().__init__()
        self.pretrained, self.width, self.image_size_px = pretrained, width, image_size_px
        self.tower = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=hidden_width,
                intermediate_size=4 * hidden_width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                image_size=image_size_px,
                patch_size=patch_px,
                projection_dim=width,
            )
        )
        self.requires_grad_(False)
        self._loaded = False

    def load(self) -> None:
        """Reads the weights; ValueError when they cannot be read or do not fit."""
        name = self.pretrained
        self.tower = load_from_hub(CLIPVisionModelWithProjection, name, "", like=self.tower)
        self._loaded = True

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of image (B, 3, H, W) in [-1, 1], not normalised."""
        if not self._loaded:
            raise RuntimeError("the image tower has no weights yet: call load() first")
        size = (self.image_size_px, self.image_size_px)
        pixels = nn.functional.interpolate(
            (image + 1) / 2, size=size, mode="bicubic", antialias=True, align_corners=False
        )
        mean = pixels.new_tensor(CLIP_MEAN).view(3, 1, 1)
        deviation = pixels.new_tensor(CLIP_DEVIATION).view(3, 1, 1)
        return self.tower(pixel_values=(pixels - mean) / deviation).image_embeds
