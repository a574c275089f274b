"""Names: their vectors, and what class logits are worth as scores, in competition or alone.

|                       | `softmax`                          | `independent`                      |
|-----------------------|------------------------------------|------------------------------------|
| score of name k       | its share among class 0 and names  | sigmoid(l_k - l_0): class 0 alone  |
| a name more in a list | lowers the scores of the others    | moves no other score               |
| scores of one query   | sum to one with class 0's          | each in [0, 1], whatever the sum   |
| two names for one     | halve each other                   | both keep their score              |
| type_scores of good   | its share                          | 1 - the best name's score          |
| type_scores of names  | their shares                       | the rest, shared by their scores   |
| negatives             | raise class 0 where they fit       | raise class 0 where they fit       |
| with CLIP             | it mixes among the names           | it mixes in each name's odds       |
| for                   | a complete list                    | any list: one name, or fifty       |

type_scores sum to one in both. Training knows neither: its loss takes the logits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.ensemble import join_competing, join_independent

TEXTS_AT_ONCE = 256


class Naming(ABC):
    """From logits (..., K+1), class 0 first, to scores in [0, 1].

    is_complete: whether a defect is one of the names, so that one of no other name is one of these.
    """

    is_complete: bool

    @abstractmethod
    def score_names(self, logits: Tensor) -> Tensor:
        """Score of each name without class 0, (..., K)."""

    @abstractmethod
    def score_types(self, logits: Tensor) -> Tensor:
        """Score of class 0 and each name, (..., K+1), summing to one."""

    @abstractmethod
    def join(self, logits: Tensor, clip_logits: Tensor, clip_weight: Tensor) -> Tensor:
        """Logits (..., K+1) of head and CLIP together; clip_weight: (K,)."""


class CompetingNames(Naming):
    """Names share one probability."""

    is_complete = True

    def score_names(self, logits: Tensor) -> Tensor:
        """Softmax over class 0 and all names, without class 0's share."""
        return self.score_types(logits)[..., 1:]

    def score_types(self, logits: Tensor) -> Tensor:
        """Softmax over class 0 and all names."""
        return logits.softmax(-1)

    def join(self, logits: Tensor, clip_logits: Tensor, clip_weight: Tensor) -> Tensor:
        """CLIP has a say in which name, not in whether there is a defect."""
        return join_competing(logits, clip_logits, clip_weight)


class IndependentNames(Naming):
    """Each name is weighed against class 0 alone."""

    is_complete = False

    def score_names(self, logits: Tensor) -> Tensor:
        """Sigmoid of each name's margin over class 0."""
        return (logits[..., 1:] - logits[..., :1]).sigmoid()

    def score_types(self, logits: Tensor) -> Tensor:
        """Good is as sure as the best name is not; the names share what is left."""
        names = self.score_names(logits)
        best = names.amax(-1, keepdim=True)
        tiny = torch.finfo(names.dtype).tiny
        shares = names / names.sum(-1, keepdim=True).clamp(min=tiny)
        return torch.cat([1 - best, best * shares], dim=-1)

    def join(self, logits: Tensor, clip_logits: Tensor, clip_weight: Tensor) -> Tensor:
        """CLIP has a say in each name's odds, and none of another name's."""
        return join_independent(logits, clip_logits, clip_weight)


def naming_of(word: str) -> Naming:
    """The naming that a user asks for; ValueError for another word."""
    if word == "softmax":
        return CompetingNames()
    if word == "independent":
        return IndependentNames()
    raise ValueError(f"naming is {word!r}: expected softmax or independent")


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


Entries = Sequence[tuple[str, ...]]


def new_classes(asked: Entries, trained: Entries) -> list[int]:
    """Places of the classes none of whose words training heard; both with good first."""
    heard = {word for entry in trained for word in entry}
    return [place for place, entry in enumerate(asked) if place and heard.isdisjoint(entry)]


def unasked(asked: Entries, negatives: Sequence[str], trained: Entries) -> list[tuple[str, ...]]:
    """The trained classes that nobody asks for, and that are no negatives either."""
    said = {word for entry in asked for word in entry} | set(negatives)
    return [entry for entry in trained[1:] if said.isdisjoint(entry)]


def nearest_class(
    texts: Tensor, text_class: Tensor, *, of: Sequence[int], among: Sequence[int]
) -> Tensor:
    """The class nearest in meaning to each of others, (L,) int64 on the CPU; empty where none are.

    texts: (N, D) unit vectors, text_class: (N,) the class of each. What all of these classes share
    is left aside.
    """
    if not len(of) or not len(among):
        return torch.zeros(0, dtype=torch.int64)
    means = torch.stack([texts[text_class == k].mean(dim=0) for k in (*of, *among)])
    units = functional.normalize(means - means.mean(dim=0), dim=-1)
    nearest = (units[: len(of)] @ units[len(of) :].T).argmax(dim=1)
    return torch.tensor(among)[nearest.cpu()]


def lend(scores: Tensor, lends_to: Tensor, how: str) -> Tensor:
    """Scores (..., K) of what is asked for, from (..., K + L) of that and of L names that lend.

    lends_to: (L,) the place of the one that each lends to; how: "amax", or "sum", which keeps the
    total.
    """
    if not len(lends_to):
        return scores
    own, lent = scores.split([scores.shape[-1] - len(lends_to), len(lends_to)], dim=-1)
    return own.scatter_reduce(-1, lends_to.expand_as(lent), lent, how)


def draw_synonyms(seeds: Sequence[int], text_class: Tensor) -> Tensor:
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
