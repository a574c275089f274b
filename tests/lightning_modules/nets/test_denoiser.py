"""Holds the U-Net's size, initialisation, time index and gradients."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_modules.equations.embedding import embed_time
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.weights_io import STAMP, stamp
from tests.lightning_modules.small_parts import small_denoiser


def inputs(batch_size: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, times, three tokens of text, and their mask."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(batch_size, 4, 8, 8, generator=generator)
    text = torch.randn(batch_size, 3, 16, generator=generator)
    mask = torch.ones(batch_size, 3, dtype=torch.bool)
    return latents, torch.arange(1, batch_size + 1), text, mask


def awake_denoiser(**settings: object) -> Denoiser:
    """A denoiser whose output layers are not zero."""
    return small_denoiser(4, 16, zero_init=False, **settings).eval()


def test_paper_scale_has_exactly_859520964_parameters() -> None:
    with torch.device("meta"):
        denoiser = Denoiser(4, 768)
    assert sum(weight.numel() for weight in denoiser.parameters()) == 859_520_964


def test_residual_convolutions_start_by_he_and_biases_at_zero(seed: int) -> None:
    block = small_denoiser(4, 16).unet.down_blocks[2].resnets[0]
    fan_in = 32 * 9
    assert block.conv2.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
    assert block.conv2.bias.abs().max() == 0


def test_time_one_is_the_librarys_time_zero(seed: int) -> None:
    denoiser = awake_denoiser()
    latents, _, text, mask = inputs()
    ours = denoiser(latents, torch.tensor([1, 1]), text, mask)
    theirs = denoiser.unet(
        latents, torch.tensor([0, 0]), encoder_hidden_states=text, encoder_attention_mask=mask
    ).sample
    torch.testing.assert_close(ours, theirs)


def test_masked_tokens_do_not_matter(seed: int) -> None:
    denoiser = awake_denoiser()
    latents, t, text, mask = inputs()
    mask[:, 1:] = False
    changed = text.clone()
    changed[:, 1:] += 10
    expected = denoiser(latents, t, text, mask)
    torch.testing.assert_close(denoiser(latents, t, changed, mask), expected)


def test_flags_that_do_not_fit_the_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="3 block_channels and 2 attention flags"):
        small_denoiser(4, 16, attention=(True, False))


def test_paper_time_embedding_counts_time_from_one(seed: int) -> None:
    unet = small_denoiser(4, 16, time_embedding="paper").unet
    assert unet.time_proj(torch.tensor([0, 41])).equal(embed_time(torch.tensor([1, 42]), 256))


def test_training_starts_from_the_weights_that_are_named(tmp_path: Path, seed: int) -> None:
    named = awake_denoiser()
    named.unet.save_pretrained(tmp_path / "unet")
    denoiser = small_denoiser(4, 16, init=str(tmp_path)).eval()
    denoiser.load()
    torch.testing.assert_close(denoiser(*inputs()), named(*inputs()))
    assert all(weight.requires_grad for weight in denoiser.parameters())


def test_training_starts_from_another_stage_1(tmp_path: Path, seed: int) -> None:
    other = awake_denoiser()
    state = {f"diffusion.denoiser.{name}": one for name, one in other.state_dict().items()}
    (tmp_path / "checkpoints").mkdir()
    saved = {"state_dict": state, STAMP: stamp("pretrain", (("good",),))}
    torch.save(saved, tmp_path / "checkpoints" / "last.ckpt")
    denoiser = small_denoiser(4, 16, init=str(tmp_path)).eval()
    denoiser.load()
    torch.testing.assert_close(denoiser(*inputs()), other(*inputs()))


SWITCHES: list[dict[str, bool]] = [
    {"sdpa": False},
    {"gradient_checkpointing": True},
    {"channels_last": True},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: next(iter(switch)))
def test_switch_changes_neither_answer_nor_gradient(switch: dict[str, bool], seed: int) -> None:
    plain = awake_denoiser()
    other = awake_denoiser(**switch).train()
    other.load_state_dict(plain.state_dict())
    other.speed_up(torch.device("cpu"))
    answers = [denoiser(*inputs()) for denoiser in (plain, other)]
    for answer in answers:
        answer.square().sum().backward()
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-5)
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-4)


def test_compiling_is_prepared_where_it_is_asked_for_and_keeps_the_names(seed: int) -> None:
    denoiser = small_denoiser(4, 16, compile=True)
    names = list(denoiser.state_dict())
    denoiser.speed_up(torch.device("cpu"))
    assert denoiser.unet._compiled_call_impl is not None
    assert list(denoiser.state_dict()) == names
