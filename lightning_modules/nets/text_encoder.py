"""Words to vectors: a sentence tower, CLIP's text tower, and hashed words that need no weights.

Every text in the system passes through one of them.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
)

from lightning_modules.equations.embedding import embed_positions
from lightning_modules.known_weights import find_weights
from lightning_modules.weights_io import first_line, load_from_hub

WORD = re.compile(r"[^\W_]+")
KEPT_TEXTS = 4096  # of some 20 tokens each: 0.1 GB at 384-d


@dataclass(slots=True)
class TextEmbedding:
    """tokens: (N, L, D); mask: (N, L) bool, True where a token is real; pooled: (N, D)."""

    tokens: Tensor
    mask: Tensor
    pooled: Tensor


class TextEncoder(nn.Module):
    """What the system needs of a text tower: embeddings of texts, `width` wide."""

    width: int
    max_tokens: int

    def load(self) -> None:
        """Reads the weights; nothing where there are none."""

    def token_counter(self) -> Callable[[str], int]:
        """A function that says how many of `max_tokens` a text takes; it holds no weights."""
        raise NotImplementedError

    def encode(self, texts: Sequence[str]) -> TextEmbedding:
        """Embeddings of texts, each one computed."""
        raise NotImplementedError

    def forward(self, texts: Sequence[str]) -> TextEmbedding:
        """Embeddings of texts; a text that stands there twice is computed once."""
        place = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        once = self.encode(list(place))
        if len(place) == len(texts):
            return once
        order = torch.tensor([place[text] for text in texts], device=once.tokens.device)
        return TextEmbedding(once.tokens[order], once.mask[order], once.pooled[order])


def embed_with_null(
    encoder: TextEncoder, texts: Sequence[str]
) -> tuple[TextEmbedding, TextEmbedding]:
    """The embeddings of texts, and that of no text: one row, padded to the same length."""
    both = encoder([*texts, ""])
    return (
        TextEmbedding(both.tokens[:-1], both.mask[:-1], both.pooled[:-1]),
        TextEmbedding(both.tokens[-1:], both.mask[-1:], both.pooled[-1:]),
    )


def count_words(text: str) -> int:
    """The number of words in a text, as HashedTextEncoder parts them."""
    return len(WORD.findall(text))


def count_pieces(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The number of a tokenizer's tokens in a text, its two ends included."""
    return len(tokenizer(text, truncation=False, verbose=False).input_ids)


def read_tokenizer(name: str, word_count: int) -> CLIPTokenizer:
    """The tokenizer beside the weights `name`; ValueError unless it knows their `word_count`."""
    tokenizer = CLIPTokenizer.from_pretrained(name)
    if len(tokenizer) != word_count:
        raise lost_words(name, len(tokenizer), word_count)
    return tokenizer


def lost_words(name: str, known: int, word_count: int) -> ValueError:
    """What is wrong where a tokenizer's files are missing: the library makes an empty one."""
    return ValueError(
        f"tokenizer of {name!r} knows {known} words, the weights {word_count}: put "
        "tokenizer.json, or vocab.json and merges.txt, beside the weights"
    )


class HashedTextEncoder(TextEncoder):
    """Each word a fixed random unit vector drawn from its own hash: no weights, no vocabulary.

    Words that share no letters share no meaning here; what a name looks like is learned in
    stage 2. Plural -s is cut, so that "scratches" and "scratch" meet.
    """

    anchor: Tensor

    def __init__(self, width: int = 64, max_tokens: int = 77) -> None:
        super().__init__()
        self.width, self.max_tokens = width, max_tokens
        self._vectors: dict[str, Tensor] = {}
        self.register_buffer("anchor", torch.zeros(1), persistent=False)  # knows the device

    def token_counter(self) -> Callable[[str], int]:
        """Counts words."""
        return count_words

    def words_of(self, text: str) -> list[str]:
        """The words of a text, lower-case and singular; an empty text is one special word."""
        words = WORD.findall(text.lower())
        stems = [re.sub(r"(?<=ch|sh|ss)es$|(?<=[^s])s$", "", word) for word in words]
        return stems[: self.max_tokens] or ["<empty>"]

    def vector_of(self, word: str) -> Tensor:
        """The unit vector of a word, (D,), the same on every machine."""
        if word not in self._vectors:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") >> 1
            generator = torch.Generator().manual_seed(seed)
            vector = torch.randn(self.width, generator=generator)
            self._vectors[word] = vector / vector.norm()
        return self._vectors[word]

    def encode(self, texts: Sequence[str]) -> TextEmbedding:
        """Embeddings of texts; the pooled vector is the normalised mean of the words."""
        words = [self.words_of(text) for text in texts]
        length = max(len(row) for row in words)
        tokens = torch.zeros(len(texts), length, self.width)
        mask = torch.zeros(len(texts), length, dtype=torch.bool)
        for index, row in enumerate(words):
            tokens[index, : len(row)] = torch.stack([self.vector_of(word) for word in row])
            mask[index, : len(row)] = True
        pooled = nn.functional.normalize(tokens.sum(1), dim=-1)
        order = 0.1 * embed_positions(torch.arange(length), self.width) / self.width**0.5
        # Scaled to unit variance per coordinate, as a text tower's tokens are.
        tokens = (tokens + order) * mask[..., None] * self.width**0.5
        device = self.anchor.device
        return TextEmbedding(tokens.to(device), mask.to(device), pooled.to(device))


class ClipTextEncoder(TextEncoder):
    """CLIP's text tower and tokenizer, by hub name or local folder (ViT-L/14: 123 M, 768-d)."""

    def __init__(
        self,
        pretrained: str = "openai/clip-vit-large-patch14",
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        intermediate_width: int = 3072,
    ) -> None:
        super().__init__()
        self.pretrained, self.width, self.max_tokens = pretrained, width, 77
        self.tokenizer: CLIPTokenizer | None = None
        self.tower = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=intermediate_width,
                projection_dim=width,
            )
        )

    def load(self) -> None:
        """Reads tokenizer and weights; ValueError when they cannot be read or do not fit."""
        self.tower = load_from_hub(CLIPTextModel, self.pretrained, "", like=self.tower)
        self.tokenizer = read_tokenizer(self.pretrained, self.tower.config.vocab_size)

    def token_counter(self) -> Callable[[str], int]:
        """Counts the tokenizer's tokens."""
        return partial(count_pieces, self._loaded_tokenizer())

    def _loaded_tokenizer(self) -> CLIPTokenizer:
        if self.tokenizer is None:
            raise RuntimeError("the text tower has no weights yet: call load() first")
        return self.tokenizer

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextEmbedding:
        """Embeddings of texts at 77 tokens; the pooled vector is that of the end token."""
        settings = {"padding": "max_length", "truncation": True, "max_length": self.max_tokens}
        read = self._loaded_tokenizer()(list(texts), **settings, return_tensors="pt")
        ids = read.input_ids.to(self.tower.device)
        # Stable Diffusion attends to the padding too; so does this.
        output = self.tower(input_ids=ids)
        mask = torch.ones_like(ids, dtype=torch.bool)
        return TextEmbedding(output.last_hidden_state, mask, output.pooler_output)


class SentenceTextEncoder(TextEncoder):
    """A sentence tower of transformers with its tokenizer: MiniLM (22.7 M, 384-d) by default.

    pretrained: a known name (`known_weights.py`), a local folder or a hub name, whose config.json
    must be there when the net is built. Pooled vectors are means over the real tokens, normalised,
    as sentence-transformers makes them; tokens are the last states, scaled to unit variance. Texts
    are cut at `max_tokens`. Raises FileNotFoundError or ValueError, one line.
    """

    def __init__(self, pretrained: str = "minilm", max_tokens: int = 77) -> None:
        super().__init__()
        self.pretrained, self.max_tokens = pretrained, max_tokens
        found = find_weights(pretrained)
        try:
            config = AutoConfig.from_pretrained(found)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"text tower {pretrained!r} has no readable config.json ({first_line(error)}): "
                "expected a folder that transformers wrote, or a reachable hub name"
            ) from error
        self.tower = AutoModel.from_config(config).eval()
        self.width = int(config.hidden_size)
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}

    def load(self) -> None:
        """Reads tokenizer and weights; ValueError when they cannot be read or do not fit."""
        found = find_weights(self.pretrained)
        self.tower = load_from_hub(AutoModel, found, "", like=self.tower).eval()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(found)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"text tower {self.pretrained!r} has no readable tokenizer ({first_line(error)}): "
                "put tokenizer.json beside the weights"
            ) from error
        known, word_count = len(self.tokenizer), self.tower.config.vocab_size
        if known < word_count / 2:  # weights are padded, by a few words
            raise lost_words(self.pretrained, known, word_count)
        self._kept.clear()

    def train(self, mode: bool = True) -> "SentenceTextEncoder":
        """Stays in evaluation mode: the tower is frozen, and its dropout off."""
        return super().train(False)

    def token_counter(self) -> Callable[[str], int]:
        """Counts the tokenizer's tokens."""
        return partial(count_pieces, self._loaded_tokenizer())

    def _loaded_tokenizer(self) -> PreTrainedTokenizerBase:
        if self.tokenizer is None:
            raise RuntimeError("the text tower has no weights yet: call load() first")
        return self.tokenizer

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextEmbedding:
        """Embeddings of texts; those met before are not computed again."""
        new = [text for text in texts if text not in self._kept]
        found = dict(zip(new, self._compute(new), strict=True)) if new else {}
        rows = [found.get(text) or self._kept[text] for text in texts]
        device = next(self.tower.parameters()).device
        tokens = nn.utils.rnn.pad_sequence([row for row, _ in rows], batch_first=True).to(device)
        counts = torch.tensor([len(row) for row, _ in rows], device=device)
        mask = torch.arange(tokens.shape[1], device=device) < counts[:, None]
        for text, row in found.items():
            if len(self._kept) < KEPT_TEXTS:
                self._kept[text] = row
        return TextEmbedding(tokens, mask, torch.stack([row for _, row in rows]).to(device))

    def _compute(self, texts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Per text its token states (L, D) and its pooled vector (D,), on the CPU."""
        settings = {"padding": True, "truncation": True, "max_length": self.max_tokens}
        read = self._loaded_tokenizer()(list(texts), **settings, return_tensors="pt")
        read = read.to(next(self.tower.parameters()).device)
        states = self.tower(**read).last_hidden_state.float().cpu()
        rows = []
        for row, real in zip(states, read.attention_mask.bool().cpu(), strict=True):
            tokens = row[real]
            pooled = nn.functional.normalize(tokens.mean(0), dim=-1)
            rows.append((tokens / tokens.std(), pooled))
        return rows
