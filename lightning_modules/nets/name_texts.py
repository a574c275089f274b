"""Names as vectors: each word in its prompt templates, their mean on the unit sphere.

And which of a class's words an image hears in training.
"""

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


def draw_words(seeds: Sequence[int], text_class: Tensor) -> Tensor:
    """One text of each class for each image, (B, N) bool, by the image's seed.

    text_class: (N,) the class of each text, below 0 for 0. Whichever process draws them, they are
    the same.
    """
    draws = torch.empty(len(seeds), len(text_class))
    generator = torch.Generator()
    for place, seed in enumerate(seeds):
        draws[place].uniform_(generator=generator.manual_seed(seed))
    draws = draws.to(text_class.device, non_blocking=True)
    owner = text_class.clamp(min=0).expand(len(seeds), -1)
    best = torch.zeros_like(draws).scatter_reduce(1, owner, draws, "amax")
    return draws == best.gather(1, owner)
