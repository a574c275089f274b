"""Holds learned prompts to one by one reads of CLIP's text tower, and that they alone learn."""

from itertools import product

import pytest
import torch

from lightning_modules.nets.learned_prompts import LearnedPrompts
from lightning_modules.nets.whole_clip import WholeClip
from tests.lightning_modules.small_weights import write_small_clip

STATES = ("damaged {}", "{} with flaw", "split")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> WholeClip:
    torch.manual_seed(0)
    clip = WholeClip(str(write_small_clip(tmp_path_factory.mktemp("clip"))))
    clip.load()
    return clip


def prompts_of(good_tokens: int = 4) -> LearnedPrompts:
    torch.manual_seed(1)
    counts = {"good_count": 3, "odd_count": 2, "odd_tokens": 1}
    return LearnedPrompts("tile", STATES, 16, good_tokens=good_tokens, **counts)


def test_each_text_stands_behind_each_learned_prompt(clip: WholeClip) -> None:
    prompts = prompts_of()
    with torch.no_grad():
        found = prompts(clip)

        def read(text: str, *tokens: torch.Tensor) -> torch.Tensor:
            return clip.embed_prompted([text], torch.cat(tokens)[None])

        good = [read("tile.", one) for one in prompts.good]
        states = ("damaged tile.", "tile with flaw.", "split.")
        handmade = [read(state, one) for state, one in product(states, prompts.good)]
        learned = [read("tile.", one, odd) for one, odd in product(prompts.good, prompts.odd)]
    torch.testing.assert_close(found.good, torch.cat(good))
    torch.testing.assert_close(found.handmade, torch.cat(handmade))
    torch.testing.assert_close(found.learned, torch.cat(learned))
    torch.testing.assert_close(found.odd, torch.cat([*handmade, *learned]))
    assert found.good.std(0).min() > 1e-4  # no two prompts say the same


def test_prompts_alone_learn(clip: WholeClip) -> None:
    prompts = prompts_of()
    assert sum(one.numel() for one in prompts.parameters()) == (3 * 4 + 2 * 1) * 16
    found = prompts(clip)
    (found.good.sum() + found.odd.square().sum()).backward()
    assert all(one.grad is not None and one.grad.abs().min() > 0 for one in prompts.parameters())
    assert all(one.grad is None and not one.requires_grad for one in clip.model.parameters())


def test_more_tokens_than_the_tower_reads_are_one_line(clip: WholeClip) -> None:
    # A start, an end, and five letters' tokens for the shortest text.
    with pytest.raises(ValueError, match=r"expected 77 at most; learn fewer, or shorten 'tile wi"):
        prompts_of(good_tokens=70)(clip)
