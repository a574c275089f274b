"""Conditioning as pure functions: guidance (eq. 10) and the implicit-text loss (main paper)."""

from torch import Tensor
from torch.nn import functional


def guide(eps_null: Tensor, eps_conditioned: Tensor, scale: float) -> Tensor:
    """Noise estimate pushed away from the unconditional one (eq. 10)."""
    return eps_null + scale * (eps_conditioned - eps_null)


def implicit_text_loss(implicit: Tensor, text: Tensor) -> Tensor:
    """One minus the cosine between implicit and true caption embedding, a scalar (L_imp).

    implicit, text: (B, D). The text side is a target and gets no gradient.
    """
    return (
        1 - functional.cosine_similarity(implicit.float(), text.detach().float(), dim=-1)
    ).mean()
