"""Learned tokens before words for good and for odd parts, read by CLIP's frozen text tower."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_modules.nets.whole_clip import WholeClip

INITIAL_DEVIATION = 0.02


@dataclass(frozen=True, slots=True)
class PromptTexts:
    """CLIP's vectors, of any length, of texts for good, (P, D), and of texts for odd.

    handmade: (P * S, D), each state of the part; learned: (P * A, D).
    """

    good: Tensor
    handmade: Tensor
    learned: Tensor

    @property
    def odd(self) -> Tensor:
        """All for odd, (P * (S + A), D)."""
        return torch.cat([self.handmade, self.learned])


class LearnedPrompts(nn.Module):
    """All that learns in PromptAD: G and A of `[G] part.`, `[G] state of part.`, `[G][A] part.`.

    good_count, odd_count: how many G and A there are, each with each; good_tokens, odd_tokens: how
    many tokens each of them is, of `width`, the text tower's.
    """

    def __init__(
        self,
        part_name: str,
        states: Sequence[str],
        width: int,
        *,
        good_count: int,
        good_tokens: int,
        odd_count: int,
        odd_tokens: int,
    ) -> None:
        super().__init__()
        self.texts = [f"{part_name}.", *(f"{state.format(part_name)}." for state in states)]
        self.good = nn.Parameter(INITIAL_DEVIATION * torch.randn(good_count, good_tokens, width))
        self.odd = nn.Parameter(INITIAL_DEVIATION * torch.randn(odd_count, odd_tokens, width))

    def forward(self, clip: WholeClip) -> PromptTexts:
        """What CLIP makes of all texts; ValueError where they are too long for it."""
        count, part = len(self.good), self.texts[0]
        # Of each text, one behind each of the learned tokens for good.
        texts = [text for text in self.texts for _ in range(count)]
        plain = clip.embed_prompted(texts, self.good.repeat(len(self.texts), 1, 1))
        pairs = [self.good.repeat_interleave(len(self.odd), 0), self.odd.repeat(count, 1, 1)]
        both = torch.cat(pairs, dim=1)
        learned = clip.embed_prompted([part] * len(both), both)
        return PromptTexts(plain[:count], plain[count:], learned)
