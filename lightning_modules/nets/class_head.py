"""Names of masks by similarity to text (L_cls, main paper): any list of words, "good" among them.

What the logits are worth as scores, beside other names or alone, is in `naming.py`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.nets.mask_generator import MaskQueries


class ClassHead(nn.Module):
    """Similarity of mask-pooled query embeddings to the texts of each class, with temperature.

    Class 0 is void and "good" in one: what a query answers that found nothing. It scores with the
    best of its texts, of which there are two kinds: "good" and its synonyms, moved by the learned
    `good_offset` (so that void is learned, not read), and the negatives, which are words alone.
    In training one synonym of a class alone names an image (`draw_synonyms`): among all of them the
    best would learn, and the others would mean nothing when a person uses them.
    """

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.pool = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.embed = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
        )
        self.text_projection = nn.Linear(text_width, width)
        self.good_offset = nn.Parameter(torch.zeros(text_width))
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def scale(self) -> Tensor:
        """The learned inverse temperature, at most 100."""
        return self.log_scale.exp().clamp(max=100)

    def embed_queries(self, outputs: MaskQueries) -> Tensor:
        """Unit vectors (S, B, Q, D) of what each query's mask covers."""
        queries = outputs.queries + self.pool(pool_by_mask(outputs))
        return functional.normalize(self.embed(queries), dim=-1)

    def embed_texts(self, texts: Tensor) -> Tensor:
        """Unit vectors (N, D) of text embeddings (N, D_text), beside those of the queries."""
        return functional.normalize(self.text_projection(texts), dim=-1)

    def forward(
        self,
        outputs: MaskQueries,
        texts: Tensor,
        text_class: Tensor,
        class_count: int,
        synonym_mask: Tensor | None = None,
    ) -> Tensor:
        """Class logits (S, B, Q, K+1); class_count is K+1.

        texts: (N, D_text) unit vectors, one per synonym; text_class: (N,) the class of each,
        below 0 for a negative; synonym_mask: (B, N) bool, the texts that name each image, None for
        all.
        """
        return self.name(self.embed_queries(outputs), texts, text_class, class_count, synonym_mask)

    def name_features(
        self,
        features: Tensor,
        texts: Tensor,
        text_class: Tensor,
        class_count: int,
        synonym_mask: Tensor | None = None,
    ) -> Tensor:
        """Class logits (B, P, K+1) of mask features (B, P, D), each as if a mask held it alone."""
        embeddings = functional.normalize(self.embed(self.pool(features)), dim=-1)
        return self.name(embeddings, texts, text_class, class_count, synonym_mask)

    def name(
        self,
        embeddings: Tensor,
        texts: Tensor,
        text_class: Tensor,
        class_count: int,
        synonym_mask: Tensor | None = None,
    ) -> Tensor:
        """Class logits (..., B, Q, K+1) of unit vectors (..., B, Q, D)."""
        is_good = (text_class == 0).to(texts.dtype)[:, None]
        words = self.embed_texts(texts + is_good * self.good_offset)
        similarity = embeddings @ words.T
        if synonym_mask is not None:
            similarity = similarity.masked_fill(~synonym_mask[:, None], -torch.inf)
        return best_synonym(similarity, text_class, class_count) * self.scale


def best_synonym(similarity: Tensor, text_class: Tensor, class_count: int) -> Tensor:
    """The best of each class's texts, (..., K+1), from similarity (..., N) to all texts.

    text_class: (N,) the class of each text, below 0 for a negative, which counts for class 0.
    """
    owner = text_class.clamp(min=0).expand_as(similarity)
    best = similarity.new_full((*similarity.shape[:-1], class_count), -torch.inf)
    return best.scatter_reduce(-1, owner, similarity, "amax")


def pool_by_mask(outputs: MaskQueries) -> Tensor:
    """Mean mask feature inside each query's mask, (S, B, Q, D); the mask is hard and detached."""
    features = outputs.mask_features
    inside = (outputs.masks.detach() > 0).float()
    # In 16 bits the sum over a large mask would be infinite.
    with torch.autocast(features.device.type, enabled=False):
        total = torch.einsum("sbqhw,bdhw->sbqd", inside, features.float())
    return (total / (inside.sum((-2, -1))[..., None] + 1e-6)).to(features.dtype)


def answer_for_image(logits: Tensor) -> Tensor:
    """Class logits (B, K+1) of whole images from those of their queries (B, Q, K+1).

    A defect is in the image when its best query says so; the image is good when all queries do.
    """
    return torch.cat([logits[..., :1].amin(1), logits[..., 1:].amax(1)], dim=-1)


def score_pixels(masks: Tensor, names: Tensor, *, side_px: int) -> Tensor:
    """Score in [0, 1] of each defect type at each pixel, (B, K, s, s): the best query's.

    masks: (B, Q, h, w) logits; names: (B, Q, K) scores in [0, 1]. Departs from Mask2Former's sum
    over queries because a maximum stays in [0, 1] and does not grow with their number. Image by
    image: at full size the masks of a batch take gigabytes.
    """
    maps = masks.new_empty(len(masks), names.shape[-1], side_px, side_px)
    for image, image_masks in enumerate(masks):
        wide = functional.interpolate(
            image_masks[None], size=(side_px, side_px), mode="bilinear", align_corners=False
        )[0].sigmoid_()
        for name in range(names.shape[-1]):
            maps[image, name] = (wide * names[image, :, name, None, None]).amax(0)
    return maps
