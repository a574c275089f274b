"""Holds that CLIP looks where the masks are, stays what it is, and is refused where it is not."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.nets.clip_mask_pooling import ClipMaskPooling, mask_token_bias
from lightning_modules.nets.image_encoder import to_clip_pixels
from tests.lightning_modules.small_weights import SIDE_PX, write_small_clip

PATCHES = 16
IMAGE = 2 * torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1)) - 1
WORDS = [["good"], ["crack", "a crack"], ["stain"]]
OWNERS = torch.arange(3)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_small_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> ClipMaskPooling:
    clip = ClipMaskPooling(str(clip_folder))
    clip.load()
    clip.set_prompts(WORDS)
    return clip


def allowed(*shares: float) -> Tensor:
    """Which patches masks of these sizes may look at, drawn anew in each image."""
    draws = torch.rand(2, len(shares), PATCHES, generator=torch.Generator().manual_seed(0))
    return draws < torch.tensor(shares)[:, None]


@torch.no_grad()
def test_image_tokens_are_what_they_are_without_masks(clip_folder: Path) -> None:
    clip = ClipMaskPooling(str(clip_folder))
    clip.load()
    clip.model.double()
    pixels = to_clip_pixels(IMAGE.double(), SIDE_PX)
    alone = clip.model.vision_model(pixels).last_hidden_state
    beside = clip.attend(IMAGE.double(), allowed(0.2, 0.5, 0.8, 0.0, 1.0))[:, 5:]
    assert (beside - alone).abs().max() < 1e-12


@torch.no_grad()
def test_mask_of_the_whole_image_is_clips_own_class_token(clip: ClipMaskPooling) -> None:
    tokens = clip.attend(IMAGE, allowed(1.1, 0.3))
    torch.testing.assert_close(tokens[:, 0], tokens[:, 2])
    assert not torch.allclose(tokens[:, 1], tokens[:, 2], atol=1e-3)


def test_mask_token_looks_at_the_class_token_and_its_patches_alone() -> None:
    bias = mask_token_bias(torch.tensor([[[True, False]]]), torch.float32)
    hidden = -torch.inf
    assert bias[0, 0].tolist() == [
        [hidden, 0, 0, hidden],
        [hidden, 0, 0, 0],
        [hidden, 0, 0, 0],
        [hidden, 0, 0, 0],
    ]


def test_logits_are_scaled_cosines_with_the_texts_of_the_same_clip(clip: ClipMaskPooling) -> None:
    everything = torch.ones(2, 1, 4, 4)
    logits = clip.name_masks(IMAGE, everything, OWNERS, 3)
    with torch.no_grad():
        pixels = to_clip_pixels(IMAGE, SIDE_PX)
        image = clip.model.get_image_features(pixels).pooler_output
    expected = functional.normalize(image, dim=-1) @ clip.texts.T * clip.model.logit_scale.exp()
    torch.testing.assert_close(logits[:, 0], expected, atol=1e-4, rtol=1e-4)


def test_any_word_of_training_makes_a_name_seen(clip_folder: Path) -> None:
    clip = ClipMaskPooling(str(clip_folder))
    clip.seen_words = frozenset({"crack", "scuff"})
    shares = clip.weights_of([("crack",), ("scratch", "scuff"), ("burr", "fin")])
    assert shares.tolist() == pytest.approx([0.3, 0.3, 0.7])


def test_share_outside_of_zero_to_one_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"seen_weight of clip is 1.5: expected"):
        ClipMaskPooling(seen_weight=1.5)
