"""Holds that a name is the mean direction of its texts, and that each synonym is heard."""

import torch
from torch import Tensor

from lightning_modules.nets import naming
from lightning_modules.nets.naming import draw_words, embed_prompts

VECTORS = {"up": [0.0, 2.0], "right": [5.0, 0.0], "down": [0.0, -1.0]}


class Words:
    """Embeddings of three words of different lengths, and a note of which were asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: list[str]) -> Tensor:
        self.asked.append(texts)
        return torch.tensor([VECTORS[text] for text in texts])


def test_each_text_of_a_name_counts_alike_however_long_its_vector() -> None:
    diagonal, down = embed_prompts(Words(), [["up", "right"], ["down"]])
    torch.testing.assert_close(diagonal, torch.tensor([0.5, 0.5]).sqrt())
    torch.testing.assert_close(down, torch.tensor([0.0, -1.0]))


def test_text_that_two_names_share_is_computed_once() -> None:
    words = Words()
    embed_prompts(words, [["up", "right"], ["up", "down"]])
    assert words.asked == [["up", "right", "down"]]


def test_long_lists_are_embedded_in_parts(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    whole = embed_prompts(Words(), [["up"], ["right"], ["down"]])
    monkeypatch.setattr(naming, "TEXTS_AT_ONCE", 2)
    words = Words()
    assert embed_prompts(words, [["up"], ["right"], ["down"]]).equal(whole)
    assert [len(texts) for texts in words.asked] == [2, 1]


def test_each_image_hears_one_text_of_each_class() -> None:
    owners = torch.tensor([0, 0, 0, 1, 2, 2, -1])
    heard = draw_words(range(50), owners)
    counts = torch.zeros(50, 3).index_add_(1, owners.clamp(min=0), heard.float())
    assert counts.eq(1).all()
    assert heard.any(0).all()


def test_what_an_image_hears_follows_from_its_seed_alone() -> None:
    owners = torch.tensor([0, 0, 1, 1, 1])
    together = draw_words([3, 14, 15], owners)
    assert torch.equal(draw_words([15, 3], owners), together[[2, 0]])
