"""Two opinions on the same names made one: geometric means of what head and CLIP believe.

Logits stand in the order of the vocabulary, (..., K+1) with class 0 first; all is in log space,
where no probability is ever zero. Where CLIP's come from is in `nets/clip_mask_pooling.py`.
"""

import torch
from torch import Tensor


def join_competing(logits: Tensor, clip_logits: Tensor, clip_weight: Tensor) -> Tensor:
    """Log scores (..., K+1), exp of which sums to one: names compete, class 0 is the head's alone.

    clip_weight: (K,) in [0, 1], CLIP's share in each name. p(k) ~ p_head^(1-w) p_clip^w over the
    names, scaled by the head's belief that there is a defect at all.
    """
    believed = logits.log_softmax(-1)
    names = (1 - clip_weight) * logits[..., 1:].log_softmax(-1)
    names = names + clip_weight * clip_logits[..., 1:].log_softmax(-1)
    is_defect = believed[..., 1:].logsumexp(-1, keepdim=True)
    return torch.cat([believed[..., :1], is_defect + names.log_softmax(-1)], dim=-1)


def join_independent(logits: Tensor, clip_logits: Tensor, clip_weight: Tensor) -> Tensor:
    """Logits (..., K+1) of which each name's margin over class 0 knows no other name.

    The odds of a name against class 0 are the geometric mean of both: odds_head^(1-w) odds_clip^w.
    Departs from the ancestor, whose softmax over the names ties each score to the whole list.
    """
    nothing = logits[..., :1]
    head_margin = logits[..., 1:] - nothing
    clip_margin = clip_logits[..., 1:] - clip_logits[..., :1]
    margin = (1 - clip_weight) * head_margin + clip_weight * clip_margin
    return torch.cat([nothing, nothing + margin], dim=-1)
