"""Holds that patches are CLIP's own, those of attention among values are, and any size is taken."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from lightning_modules.nets.image_encoder import to_clip_pixels
from lightning_modules.nets.whole_clip import TOWERS, WholeClip, value_value_tokens
from tests.lightning_modules.small_weights import PATCH_PX, SIDE_PX, write_small_clip

IMAGE = 2 * torch.rand(2, 3, 48, 40, generator=torch.Generator().manual_seed(1)) - 1


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> WholeClip:
    torch.manual_seed(0)
    clip = WholeClip(str(write_small_clip(tmp_path_factory.mktemp("clip"))))
    clip.load()
    return clip


def attention_by_hand(attention: torch.nn.Module, query: Tensor, key: Tensor, y: Tensor) -> Tensor:
    """One softmax per head, written out; query, key: (L, C)."""
    value, joined = y @ attention.v_proj.weight.T + attention.v_proj.bias, []
    width = value.shape[1] // attention.num_heads
    for head in range(attention.num_heads):
        part = slice(head * width, (head + 1) * width)
        weights = (query[:, part] @ key[:, part].T / width**0.5).softmax(-1)
        joined.append(weights @ value[:, part])
    return torch.cat(joined, 1) @ attention.out_proj.weight.T + attention.out_proj.bias


def tokens_by_hand(model: CLIPModel, pixels: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Last tokens (L, C) of the own stream and of that of values, of one image.

    And of the own one after each attention.
    """
    attended = []
    vision = model.vision_model
    own = second = vision.pre_layrnorm(vision.embeddings(pixels[None]))[0]
    for layer in vision.encoder.layers:
        y, attention = layer.layer_norm1(own), layer.self_attn
        query, key, value = (
            y @ one.weight.T + one.bias
            for one in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        second = second + attention_by_hand(attention, value, value, y)
        own = own + attention_by_hand(attention, query, key, y)
        attended.append(own)
        own = own + layer.mlp(layer.layer_norm2(own))
    return own, second, attended


@torch.no_grad()
def test_towers_equal_attention_written_by_hand(clip: WholeClip) -> None:
    model = clip.model
    pixels = to_clip_pixels(IMAGE, SIDE_PX)
    own, second, _ = tokens_by_hand(model, pixels[1])
    vision = model.vision_model
    tokens = vision.pre_layrnorm(vision.embeddings(pixels))
    vanilla, values = (one(vision.encoder.layers, tokens)[1] for one in TOWERS.values())
    torch.testing.assert_close(vanilla, own, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(values[0], own[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(values[1:], second[1:], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(second, own, atol=1e-2)


@torch.no_grad()
def test_tokens_between_attention_and_mlp_are_those_by_hand(clip: WholeClip) -> None:
    pixels, vision = to_clip_pixels(IMAGE, SIDE_PX), clip.model.vision_model
    tokens, attended = vision.pre_layrnorm(vision.embeddings(pixels)), list[Tensor]()
    value_value_tokens(vision.encoder.layers, tokens, attended)
    _, _, expected = tokens_by_hand(clip.model, pixels[1])
    found = [one[1] for one in attended]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_text_tower_by_its_parts_equals_the_whole_one(clip: WholeClip) -> None:
    texts = ["tile", "a photo of a damaged tile", "flaw."]
    tokenizer = CLIPTokenizer.from_pretrained(clip.pretrained)
    words = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt")
    expected = clip.model.get_text_features(**words).pooler_output
    found = clip.embed_prompted(texts, torch.zeros(3, 0, 16))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    # A word that comes as vectors is the word.
    [_, *photo, _] = tokenizer("a photo of a damaged").input_ids
    vectors = clip.model.text_model.embeddings.token_embedding(torch.tensor([photo]))
    found = clip.embed_prompted(["tile"], vectors)
    torch.testing.assert_close(found, expected[1:2], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("mode", TOWERS)
def test_image_vector_is_clips_own(clip: WholeClip, mode: str) -> None:
    image, _ = clip.embed_patches(IMAGE, TOWERS[mode], image_size_px=SIDE_PX)
    expected = clip.model.get_image_features(to_clip_pixels(IMAGE, SIDE_PX)).pooler_output
    torch.testing.assert_close(image, functional.normalize(expected, dim=-1))


@pytest.mark.parametrize("mode", TOWERS)
@pytest.mark.parametrize("side_px", [SIDE_PX, SIDE_PX + 2 * PATCH_PX])
def test_patches_are_unit_vectors_at_any_size(clip: WholeClip, mode: str, side_px: int) -> None:
    image, patches = clip.embed_patches(IMAGE, TOWERS[mode], image_size_px=side_px)
    side = side_px // PATCH_PX
    assert image.shape == (2, 8) and patches.shape == (2, side, side, 8)
    torch.testing.assert_close(patches.norm(dim=-1), torch.ones(2, side, side))


@pytest.mark.parametrize("mode", TOWERS)
def test_each_image_of_a_batch_is_seen_alone(clip: WholeClip, mode: str) -> None:
    both = clip.embed_patches(IMAGE, TOWERS[mode], image_size_px=SIDE_PX)
    swapped = clip.embed_patches(IMAGE.flip(0), TOWERS[mode], image_size_px=SIDE_PX)
    for one, other in zip(both, swapped, strict=True):
        torch.testing.assert_close(one.flip(0), other)


def test_patch_lies_where_it_is_in_the_image(clip: WholeClip) -> None:
    changed = IMAGE.clone()
    changed[..., 36:, :10] = 1.0  # the last row of patches, the first column
    pixels = to_clip_pixels(changed - IMAGE, SIDE_PX) - to_clip_pixels(IMAGE - IMAGE, SIDE_PX)
    assert pixels[..., :16, 16:].abs().max() < 1e-3
    embed = clip.model.vision_model.embeddings.patch_embedding
    moved = embed(to_clip_pixels(changed, SIDE_PX)) - embed(to_clip_pixels(IMAGE, SIDE_PX))
    assert moved.abs().sum(1)[0].argmax() == 12


def test_clip_without_weights_is_one_line(tmp_path: Path) -> None:
    clip = WholeClip(str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"none.*expected a local folder") as caught:
        clip.load()
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match="call load"):
        _ = clip.model
