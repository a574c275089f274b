"""Whether pseudo-captions mean what the captions say: each should find its own among all others.

L_imp alone cannot tell: captions alike in all but a word bring it close to zero for everyone.
"""

import hashlib

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric

EMPTY = -1  # marks a row of the gallery without a pair; hashes are never negative
# Cosines of equal vectors differ by about 1e-7, by where in the matrix they stand.
TIE = 1e-6
DEPTH = 5


class CaptionRetrieval(Metric):
    """Share of images whose pseudo-caption has its own caption among the 1 or 5 nearest.

    The candidates are the distinct captions seen; images of one caption share the answer, and a
    caption as near as the true one stands before it. The state is a gallery of `gallery_size`
    pairs, whatever was seen and on however many processes. Where there are more, every caption
    keeps one image before any keeps a second, so that the captions kept never depend on how the
    images were dealt out.
    """

    full_state_update = False
    pseudo: Tensor
    text: Tensor
    caption_hash: Tensor

    def __init__(self, width: int, gallery_size: int = 1000) -> None:
        """width: of the embeddings."""
        super().__init__()
        self.gallery_size = gallery_size
        empty = torch.full((gallery_size,), EMPTY)
        self.add_state("pseudo", torch.zeros(gallery_size, width), dist_reduce_fx=join_galleries)
        self.add_state("text", torch.zeros(gallery_size, width), dist_reduce_fx=join_galleries)
        self.add_state("caption_hash", empty, dist_reduce_fx=join_galleries)

    def update(self, pseudo: Tensor, text: Tensor, captions: list[str]) -> None:
        """Adds images: their pseudo-captions and captions as vectors (B, D), and as words."""
        caption_hash = torch.tensor([hash_caption(caption) for caption in captions])
        self.pseudo = torch.cat([self.pseudo, pseudo.detach().to(self.pseudo)])
        self.text = torch.cat([self.text, text.detach().to(self.text)])
        self.caption_hash = torch.cat([self.caption_hash, caption_hash.to(self.caption_hash)])
        self._cut_to_size()

    def compute(self) -> dict[str, Tensor]:
        """Both shares, what guessing would reach, and the number of captions; scalars, or NaN."""
        kept = take_turns(self.caption_hash)[: self.gallery_size].cpu()
        caption_hash = self.caption_hash.cpu()[kept]
        kept, caption_hash = kept[caption_hash != EMPTY], caption_hash[caption_hash != EMPTY]
        ahead = count_captions_ahead(self.pseudo.cpu()[kept], self.text.cpu()[kept], caption_hash)
        count = torch.tensor(float(len(caption_hash.unique())))
        figures = {
            "retrieval_top1": (ahead < 1).float().mean(),
            "retrieval_top5": (ahead < DEPTH).float().mean(),
            "retrieval_chance_top1": count.clamp(max=1) / count,
            "retrieval_chance_top5": count.clamp(max=DEPTH) / count,
            "retrieval_captions": count,
        }
        return {name: figure.to(self.pseudo.device) for name, figure in figures.items()}

    def _cut_to_size(self) -> None:
        kept = take_turns(self.caption_hash)[: self.gallery_size]
        self.pseudo, self.text = self.pseudo[kept], self.text[kept]
        self.caption_hash = self.caption_hash[kept]

    def _reduce_states(self, incoming_state: dict[str, Tensor]) -> None:
        """Merges another state into this one, as `merge_state` and `forward` do."""
        super()._reduce_states(incoming_state)
        self._cut_to_size()


def join_galleries(states: Tensor) -> Tensor:
    """The rows of all processes' galleries (P, G, ...) below one another, (P * G, ...)."""
    return states.flatten(0, 1)


def hash_caption(caption: str) -> int:
    """A number in 0..2^63 - 1, the same in every process, as Python's own hash is not."""
    digest = hashlib.blake2b(caption.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def take_turns(caption_hash: Tensor) -> Tensor:
    """Rows (N,) in the order in which each caption gives one row in turn, the empty ones last.

    Within a turn captions stand by their hash, within a caption rows by their number.
    """
    by_caption = torch.argsort(caption_hash, stable=True)
    place = torch.arange(len(caption_hash), device=caption_hash.device)
    ordered = caption_hash[by_caption]
    is_same = functional.pad(ordered[1:] == ordered[:-1], (1, 0))
    first_place = torch.where(is_same, 0, place).cummax(0).values
    turn = torch.where(ordered == EMPTY, len(ordered), place - first_place)
    return by_caption[torch.argsort(turn, stable=True)]


def count_captions_ahead(pseudo: Tensor, text: Tensor, caption_hash: Tensor) -> Tensor:
    """How many other captions are at least as near to each pseudo-caption as its own, (N,) int64.

    pseudo, text: (N, D); caption_hash: (N,). A similarity that is NaN is nearer than any.
    """
    distinct, own = caption_hash.unique(return_inverse=True)
    # Equal captions have equal vectors: whichever row comes to stand here.
    candidates = text.new_zeros(len(distinct), text.shape[1])
    candidates[own] = text
    with torch.autocast(text.device.type, enabled=False):
        similarity = functional.normalize(pseudo) @ functional.normalize(candidates).T
    is_behind = similarity < similarity.gather(1, own[:, None]) - TIE
    return (~is_behind).sum(1) - 1
