"""Names as vectors: each word in its prompt templates, their mean on the unit sphere."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

TEXTS_AT_ONCE = 256


@torch.no_grad()
def embed_prompts(embed: Callable[[list[str]], Tensor], prompts: Sequence[Sequence[str]]) -> Tensor:
    """One unit vector per word, (N, D): the mean direction of its texts.

    embed: texts (T) -> embeddings (T, D) of any length; prompts: per word, its texts.
    """
    texts = list(dict.fromkeys(text for forms in prompts for text in forms))
    place = {text: index for index, text in enumerate(texts)}
    chunks = [texts[at : at + TEXTS_AT_ONCE] for at in range(0, len(texts), TEXTS_AT_ONCE)]
    units = functional.normalize(torch.cat([embed(chunk) for chunk in chunks]), dim=-1)
    means = [units[[place[text] for text in forms]].mean(0) for forms in prompts]
    return functional.normalize(torch.stack(means), dim=-1)
