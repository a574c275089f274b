"""Which text the denoiser sees: the true caption, the implicit one, or none (NOTES 2, 3)."""

import torch
from torch import Tensor

from lightning_modules.nets.text_encoder import TextEmbedding

TEXT, IMPLICIT, NULL = 0, 1, 2


def implicit_condition(pseudo_caption: Tensor) -> TextEmbedding:
    """A pseudo-caption (B, D) as a text of one token."""
    tokens = pseudo_caption[:, None]
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return TextEmbedding(tokens, mask, pseudo_caption)


def choose_conditions(
    text: TextEmbedding, pseudo_caption: Tensor, null: TextEmbedding, choice: Tensor
) -> TextEmbedding:
    """Per sample the text, the implicit caption or nothing, by choice (B,) of 0, 1, 2.

    An implicit condition is one token with the rest masked. null: one row, at most as long.
    """
    length = text.tokens.shape[1]
    null_tokens = torch.nn.functional.pad(null.tokens, (0, 0, 0, length - null.tokens.shape[1]))
    null_mask = torch.nn.functional.pad(null.mask, (0, length - null.mask.shape[1]))
    first = torch.arange(length, device=choice.device) == 0
    implicit_tokens = pseudo_caption[:, None] * first[:, None].to(pseudo_caption.dtype)
    is_implicit = (choice == IMPLICIT).view(-1, 1, 1)
    is_null = (choice == NULL).view(-1, 1, 1)
    tokens = torch.where(is_implicit, implicit_tokens, text.tokens)
    tokens = torch.where(is_null, null_tokens, tokens)
    mask = torch.where(is_implicit[..., 0], first[None], text.mask)
    mask = torch.where(is_null[..., 0], null_mask, mask)
    return TextEmbedding(tokens, mask, text.pooled)
