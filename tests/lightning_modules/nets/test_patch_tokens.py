"""Holds tokens to the nets that they come from, at their size and at others."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

from lightning_modules.nets.image_encoder import to_clip_pixels
from lightning_modules.nets.patch_tokens import (
    ClipTokens,
    ConvolutionalTokens,
    PatchTokens,
    TransformerTokens,
)
from tests.lightning_modules.small_weights import PATCH_PX, SIDE_PX, write_small_clip

VIT = "test_vit"
IMAGE = 2 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 1


def test_published_net_of_the_paper_has_its_weights() -> None:
    with torch.device("meta"):
        tokens = TransformerTokens("random", "vit_base_patch16_224.augreg_in21k")
    assert sum(one.numel() for one in tokens.parameters()) == 85_798_656
    assert tokens.patch_px == 16 and not any(one.requires_grad for one in tokens.parameters())


def test_tokens_of_a_transformer_are_those_of_its_blocks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model(VIT, num_classes=7, img_size=64, dynamic_img_size=True).eval()
    net.pos_embed.data = torch.randn_like(net.pos_embed)
    small = timm.create_model(VIT, num_classes=7, dynamic_img_size=True)
    state = net.state_dict() | {"pos_embed": small.pos_embed.data.normal_()}
    save_file(state, tmp_path / "vit.safetensors")
    tokens = TransformerTokens(str(tmp_path / "vit.safetensors"), VIT, (1, 3)).train()
    tokens.load()
    small.load_state_dict(state)
    kept: list[torch.Tensor] = []
    for place in (1, 3):
        small.blocks[place].register_forward_hook(lambda *args: kept.append(args[2]))
    with torch.no_grad():
        last = small.eval().forward_features(tokens.pixels(IMAGE))
    maps, vectors = tokens(IMAGE)
    for one, reference in zip(maps, kept, strict=True):
        patches = reference[:, small.num_prefix_tokens :]
        torch.testing.assert_close(one.flatten(2).mT, patches)
        assert one.shape[2:] == (64 // tokens.patch_px,) * 2
    torch.testing.assert_close(vectors, small.forward_head(last, pre_logits=True))


def test_tokens_of_clip_are_its_hidden_states(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokens = ClipTokens(str(write_small_clip(tmp_path)), (0, 1))
    tokens.load()
    image = functional.interpolate(IMAGE, (SIDE_PX, SIDE_PX), mode="area")
    maps, vectors = tokens(image)
    model, pixels = tokens.clip.model, to_clip_pixels(image, SIDE_PX)
    with torch.no_grad():
        states = model.vision_model(pixels, output_hidden_states=True).hidden_states
        embedded = model.get_image_features(pixels).pooler_output
    for one, reference in zip(maps, states[1:], strict=True):
        assert one.shape == (2, 16, SIDE_PX // PATCH_PX, SIDE_PX // PATCH_PX)
        torch.testing.assert_close(one.flatten(2).mT, reference[:, 1:])
    torch.testing.assert_close(vectors, functional.normalize(embedded, dim=-1))
    larger, _ = tokens(IMAGE)
    assert larger[0].shape[2:] == (64 // PATCH_PX,) * 2 and tokens.patch_px == PATCH_PX


def test_maps_come_on_the_coarsest_ones_grid_and_say_that_they_are_no_transformers() -> None:
    tokens = ConvolutionalTokens("random", "test_resnet")
    maps, vectors = tokens(IMAGE)
    fine, coarse = tokens.features(IMAGE)
    assert [tuple(one.shape[1:]) for one in maps] == [(48, 4, 4), (192, 4, 4)]
    torch.testing.assert_close(maps[0][:, :, 1, 2], fine[:, :, 2:4, 4:6].mean((2, 3)))
    torch.testing.assert_close(vectors, coarse.mean((2, 3)))
    assert tokens.tags()["tokens"] == "maps of a convolutional net"


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (TransformerTokens, ("",), "has no weights: set weights to one of"),
        (TransformerTokens, ("random", VIT, (0, 9)), r"are \[0, 9\]: expected some of 0 to 5"),
        (TransformerTokens, ("random", VIT, ()), r"are \[\]: expected some of 0 to 5"),
        (TransformerTokens, ("random", "test_resnet"), "expected a vision transformer of timm"),
        (ConvolutionalTokens, ("random",), "name the net by model_name"),
    ],
)
def test_what_cannot_be_is_one_line(
    kind: type[PatchTokens], settings: tuple[object, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        kind(*settings)
    assert "\n" not in str(caught.value)
