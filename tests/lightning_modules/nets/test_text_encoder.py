"""Holds what hashed words and CLIP's text tower make of texts."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from lightning_modules.nets.text_encoder import ClipTextEncoder, HashedTextEncoder


def test_a_words_vector_is_the_same_on_every_machine() -> None:
    expected = torch.tensor([-0.26803, -0.798712, 0.496342, 0.209438])
    torch.testing.assert_close(HashedTextEncoder(4).vector_of("crack"), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("plural", "singular"),
    [("scratches", "scratch"), ("holes", "hole"), ("Cracks", "crack"), ("glasses", "glass")],
)
def test_plural_meets_singular(plural: str, singular: str) -> None:
    encoder = HashedTextEncoder()
    assert encoder.words_of(plural) == encoder.words_of(singular)


def test_tokens_have_unit_variance_per_coordinate() -> None:
    tokens = HashedTextEncoder(256)(["a long caption about a deep scratch on steel"]).tokens
    assert tokens.square().mean().item() == pytest.approx(1, abs=0.1)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP text tower of one layer with random weights, and a tokenizer of letters."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [f"unused{index}" for index in range(len(words), 49406)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    small_clip(folder).tower.save_pretrained(folder)
    return folder


def small_clip(folder: Path) -> ClipTextEncoder:
    return ClipTextEncoder(str(folder), width=16, layers=1, heads=2, intermediate_width=16)


def test_clip_gives_77_tokens_and_the_end_tokens_vector(clip_folder: Path) -> None:
    encoder = small_clip(clip_folder)
    encoder.load()
    text = encoder(["crack", "a deep crack"])
    assert text.tokens.shape == (2, 77, 16) and text.mask.all()
    end = len("crack") + 1
    torch.testing.assert_close(text.pooled[0], text.tokens[0, end])


def test_clip_counts_the_tokens_that_it_reads(clip_folder: Path) -> None:
    encoder = small_clip(clip_folder)
    encoder.load()
    count = pickle.loads(pickle.dumps(encoder.token_counter()))
    assert count("") == 2
    assert count("ab " * 100) > encoder.max_tokens


def test_clip_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    encoder = small_clip(tmp_path)
    encoder.tower.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tokenizer"):
        encoder.load()


def test_a_text_that_stands_there_twice_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, computed, texts = HashedTextEncoder(8), [], ["crack", "stain", "crack", ""]
    each, encode = encoder.encode(texts), encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda asked: computed.extend(asked) or encode(asked))
    answer = encoder(texts)
    assert computed == ["crack", "stain", ""]
    assert answer.tokens.equal(each.tokens) and answer.mask.equal(each.mask)
