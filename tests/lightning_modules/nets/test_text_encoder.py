"""Holds what hashed words, a sentence tower and CLIP's text tower make of texts."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from lightning_modules.known_weights import is_fetched
from lightning_modules.nets.text_encoder import (
    ClipTextEncoder,
    HashedTextEncoder,
    SentenceTextEncoder,
)


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


@pytest.fixture(scope="module")
def sentence_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence tower of one layer with random weights, and a tokenizer of a few words."""
    folder = tmp_path_factory.mktemp("sentence")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "scratch", "on", "steel"]
    words += [f"[unused{index}]" for index in range(9)]
    (folder / "vocab.txt").write_text("\n".join(words))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = BertModel(
            BertConfig(
                vocab_size=len(words),
                hidden_size=12,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=24,
            )
        )
    tower.save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def sentences(sentence_folder: Path) -> SentenceTextEncoder:
    encoder = SentenceTextEncoder(str(sentence_folder), max_tokens=6)
    encoder.load()
    return encoder


def test_a_sentence_is_the_mean_of_its_real_tokens(sentences: SentenceTextEncoder) -> None:
    texts = ["a scratch on steel", "", "scratch"]
    both = sentences(texts)
    assert sentences.width == 12 and both.mask.sum(1).tolist() == [6, 2, 3]
    torch.testing.assert_close(both.pooled.norm(dim=-1), torch.ones(3))
    for place, text in enumerate(texts):
        read = sentences.tokenizer(text, return_tensors="pt")
        states = sentences.tower(**read).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(0), dim=-1)
        torch.testing.assert_close(both.pooled[place], expected, atol=1e-5, rtol=1e-4)
        tokens = both.tokens[place][both.mask[place]]
        torch.testing.assert_close(tokens, states / states.std(), atol=1e-5, rtol=1e-4)


def test_a_text_met_before_is_not_computed_again(sentences: SentenceTextEncoder) -> None:
    first = sentences(["a scratch", "steel"])
    read: list[int] = []
    sentences.tower.register_forward_pre_hook(lambda *_: read.append(1))
    again = sentences(["steel", "a scratch", "steel"])
    assert not read
    assert again.pooled.equal(first.pooled[[1, 0, 1]])
    sentences(["on"])
    assert read


def test_a_sentence_tower_that_is_not_there_is_one_line(
    tmp_path: Path, sentence_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFUSE_DEFECT_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"experiments.fetch --weights minilm`$"):
        SentenceTextEncoder()
    with pytest.raises(ValueError, match=r"no readable config.json"):
        SentenceTextEncoder(str(tmp_path))
    encoder = SentenceTextEncoder(str(sentence_folder))
    with pytest.raises(RuntimeError, match=r"call load\(\) first"):
        encoder(["steel"])


def test_a_sentence_tower_without_its_tokenizer_is_one_line(
    tmp_path: Path, sentence_folder: Path
) -> None:
    """The library makes a tokenizer of five tokens then, to which all words are one."""
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        shutil.copy(sentence_folder / name, tmp_path)
    with pytest.raises(ValueError, match=r"knows 5 words, the weights 18: put tokenizer.json"):
        SentenceTextEncoder(str(tmp_path)).load()


def test_minilm_knows_what_words_mean(minilm: SentenceTextEncoder) -> None:
    words = ["fissure", "crack", "scratch", "stain"]
    pooled = minilm(words).pooled
    near = (pooled @ pooled.T).fill_diagonal_(-1)
    assert words[int(near[0].argmax())] == "crack"
    assert minilm.width == 384 and minilm.token_counter()("a crack") == 4


@pytest.fixture(scope="module")
def minilm() -> SentenceTextEncoder:
    if not is_fetched("minilm"):
        pytest.skip("no minilm here: python -m experiments.fetch --weights minilm")
    encoder = SentenceTextEncoder()
    encoder.load()
    return encoder
