"""A second opinion on names from a frozen CLIP that looks where the masks are.

For testing only: the mask generator is trained without it. How its logits join those of the class
head is in `equations/ensemble.py`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.nets.class_head import best_synonym
from lightning_modules.nets.image_encoder import to_clip_pixels
from lightning_modules.nets.naming import embed_prompts
from lightning_modules.nets.whole_clip import WholeClip


class ClipMaskPooling(WholeClip):
    """CLIP, its class token read once per mask.

    seen_weight, unseen_weight: CLIP's share in a name of which training knew a word (the stage
    says which: `seen_words`), and in any other.
    """

    def __init__(
        self,
        pretrained: str = "openai/clip-vit-large-patch14",
        seen_weight: float = 0.3,
        unseen_weight: float = 0.7,
    ) -> None:
        for name, weight in (("seen_weight", seen_weight), ("unseen_weight", unseen_weight)):
            if not 0 <= weight <= 1:
                raise ValueError(f"{name} of clip is {weight}: expected a share in [0, 1]")
        super().__init__(pretrained)
        self.seen_weight, self.unseen_weight = seen_weight, unseen_weight
        self.seen_words: frozenset[str] = frozenset()
        self.texts = torch.zeros(0)

    def set_prompts(self, prompts: Sequence[Sequence[str]]) -> None:
        """Names masks from these words from now on; prompts: per word, its texts."""
        self.texts = embed_prompts(self.embed_texts, prompts)

    def weights_of(self, names: Sequence[Sequence[str]]) -> Tensor:
        """CLIP's share in each of K names, given by their synonyms, (K,)."""
        seen = [not self.seen_words.isdisjoint(synonyms) for synonyms in names]
        shares = [self.seen_weight if known else self.unseen_weight for known in seen]
        return torch.tensor(shares, device=self.texts.device)

    @torch.no_grad()
    def name_masks(
        self, image: Tensor, masks: Tensor, text_class: Tensor, class_count: int
    ) -> Tensor:
        """Class logits (B, Q, K+1) of masks (B, Q, h, w), given as logits, that cover the image.

        image: (B, 3, H, W) in [-1, 1]; text_class: (N,) the class of each word of `set_prompts`.
        """
        self.model.to(image.device)
        self.texts = self.texts.to(image.device)
        vision = self.model.vision_model
        side_px, patch_px = vision.config.image_size, vision.config.patch_size
        allowed = covered_patches(masks.float(), image_size_px=side_px, patch_px=patch_px)
        tokens = self.attend(image, allowed)
        embedded = self.model.visual_projection(vision.post_layernorm(tokens[:, : masks.shape[1]]))
        similarity = functional.normalize(embedded.float(), dim=-1) @ self.texts.T
        return best_synonym(similarity, text_class, class_count) * self.scale

    def attend(self, image: Tensor, allowed: Tensor) -> Tensor:
        """The vision tower's last tokens (B, Q + 1 + P, D): of the masks, then CLIP's own.

        allowed: (B, Q, P) bool, the patches that each mask may look at.
        """
        vision = self.model.vision_model
        pixels = to_clip_pixels(image, vision.config.image_size)
        own = vision.pre_layrnorm(vision.embeddings(pixels))
        copies = own[:, :1].expand(-1, allowed.shape[1], -1)
        bias = mask_token_bias(allowed, own.dtype)
        states = vision.encoder(inputs_embeds=torch.cat([copies, own], 1), attention_mask=bias)
        tokens: Tensor = states.last_hidden_state
        return tokens


def covered_patches(masks: Tensor, *, image_size_px: int, patch_px: int) -> Tensor:
    """The patches (B, Q, P) bool in which some pixel is more likely in a mask than out of it.

    masks: (B, Q, h, w) logits over the same area as the image that CLIP sees, squashed alike.
    """
    size = (image_size_px, image_size_px)
    squashed = functional.interpolate(masks, size=size, mode="bilinear", align_corners=False)
    return (functional.max_pool2d(squashed, patch_px) > 0).flatten(2)


def mask_token_bias(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Attention bias (B, 1, L, L), L = Q + 1 + P: 0 where a token may look, -inf elsewhere.

    Nobody looks at mask tokens, so that the image's own tokens stay what they are without them; a
    mask token looks at CLIP's class token and at its allowed patches (B, Q, P).
    """
    batch, masks, patches = allowed.shape
    length = masks + 1 + patches
    may_look = allowed.new_ones(batch, length, length)
    may_look[:, :, :masks] = False
    may_look[:, :masks, masks + 1 :] = allowed
    bias = torch.zeros(may_look.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill(~may_look, -torch.inf)[:, None]
