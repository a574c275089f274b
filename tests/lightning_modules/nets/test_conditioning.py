"""Holds which tokens the denoiser sees under each condition."""

import pytest
import torch

from lightning_modules.nets.diffusion_model import (
    IMPLICIT,
    NULL,
    TEXT,
    choose_conditions,
    implicit_condition,
)
from lightning_modules.nets.text_encoder import HashedTextEncoder, TextEmbedding

ENCODER = HashedTextEncoder(8)
CAPTIONS = ["steel with a deep crack", "tile", "glass"]
PSEUDO_CAPTION = torch.arange(24.0).view(3, 8) + 1


def chosen(*choice: int) -> TextEmbedding:
    text, null = ENCODER(CAPTIONS), ENCODER([""])
    return choose_conditions(text, PSEUDO_CAPTION, null, torch.tensor(choice))


def test_text_condition_is_the_caption_itself() -> None:
    text, result = ENCODER(CAPTIONS), chosen(TEXT, TEXT, TEXT)
    assert result.tokens.equal(text.tokens) and result.mask.equal(text.mask)


def test_implicit_condition_is_one_token_and_the_rest_masked() -> None:
    result = chosen(IMPLICIT, TEXT, IMPLICIT)
    assert result.tokens[0, 0].equal(PSEUDO_CAPTION[0])
    assert result.mask[0].tolist() == result.mask[2].tolist() == [True] + 4 * [False]


def test_null_condition_is_the_empty_text() -> None:
    result, null = chosen(NULL, TEXT, NULL), ENCODER([""])
    assert result.tokens[0, :1].equal(null.tokens[0])
    assert result.mask[0].tolist() == [True] + 4 * [False]


def test_each_sample_has_its_own_choice() -> None:
    result = chosen(TEXT, IMPLICIT, NULL)
    for index, choice in enumerate((TEXT, IMPLICIT, NULL)):
        assert result.tokens[index].equal(chosen(choice, choice, choice).tokens[index])


@pytest.mark.parametrize("choice", [TEXT, IMPLICIT, NULL])
def test_pooled_text_is_the_captions_whatever_is_chosen(choice: int) -> None:
    assert chosen(choice, choice, choice).pooled.equal(ENCODER(CAPTIONS).pooled)


def test_gradient_reaches_the_pseudo_caption_only_where_it_is_chosen() -> None:
    pseudo = torch.zeros(3, 8, requires_grad=True)
    choice = torch.tensor([TEXT, IMPLICIT, NULL])
    choose_conditions(ENCODER(CAPTIONS), pseudo, ENCODER([""]), choice).tokens.sum().backward()
    assert pseudo.grad is not None and pseudo.grad.sum(1).tolist() == [0, 8, 0]


def test_pseudo_caption_alone_is_a_text_of_one_token() -> None:
    condition = implicit_condition(PSEUDO_CAPTION)
    assert condition.tokens.shape == (3, 1, 8) and condition.mask.tolist() == 3 * [[True]]
