"""Names of masks by similarity to text (NOTES, L_cls): any list of words, "good" among them."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.nets.mask_generator import MaskQueries


class ClassHead(nn.Module):
    """Similarity of mask-pooled query embeddings to the texts of each class, with temperature.

    "good" (class 0) is a text like the others plus a learned offset, so that it can also stand
    for a query that found nothing.
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

    def forward(self, outputs: MaskQueries, texts: Tensor, text_class: Tensor) -> Tensor:
        """Class logits (S, B, Q, K+1).

        texts: (N, D_text) unit vectors, one per synonym; text_class: (N,) the class of each.
        A class scores with its best synonym.
        """
        queries = outputs.queries + self.pool(pool_by_mask(outputs))
        embeddings = functional.normalize(self.embed(queries), dim=-1)
        is_good = (text_class == 0).to(texts.dtype)[:, None]
        projected = self.text_projection(texts + is_good * self.good_offset)
        similarity = embeddings @ functional.normalize(projected, dim=-1).T
        logits = similarity * self.log_scale.exp().clamp(max=100)
        classes = int(text_class.max()) + 1
        index = text_class.expand_as(logits)
        best = logits.new_full((*logits.shape[:-1], classes), -torch.inf)
        return best.scatter_reduce(-1, index, logits, "amax")


def pool_by_mask(outputs: MaskQueries) -> Tensor:
    """Mean mask feature inside each query's mask, (S, B, Q, D); the mask is hard and detached."""
    inside = (outputs.masks.detach() > 0).to(outputs.mask_features.dtype)
    total = torch.einsum("sbqhw,bdhw->sbqd", inside, outputs.mask_features)
    return total / (inside.sum((-2, -1))[..., None] + 1e-6)


def answer_for_image(logits: Tensor) -> Tensor:
    """Class logits (B, K+1) of whole images from those of their queries (B, Q, K+1).

    A defect is in the image when its best query says so; the image is good when all queries do.
    """
    return torch.cat([logits[..., :1].amin(1), logits[..., 1:].amax(1)], dim=-1)


def score_pixels(masks: Tensor, logits: Tensor) -> Tensor:
    """Score in [0, 1] of each defect type at each pixel, (B, K, h, w): the best query's.

    masks: (B, Q, h, w) logits; logits: (B, Q, K+1). Departs from Mask2Former's sum over queries
    because a maximum stays a score in [0, 1] and does not grow with the number of queries.
    """
    names = logits.softmax(-1)[..., 1:]
    inside = masks.sigmoid()
    maps = [(inside * names[..., k, None, None]).amax(1) for k in range(names.shape[-1])]
    return torch.stack(maps, dim=1)
