"""Holds the truncated passes: equal in every bit to taps on the whole nets, and less work."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.truncated_pass import decoder_maps, encoder_maps, tapped_blocks
from tests.lightning_modules.small_parts import small_denoiser, small_vae

TERA = 1e12


@contextmanager
def recorded_inputs(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """A list that fills with the first input of each module, in the order of their calls."""
    inputs: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
        for module in modules
    ]
    yield inputs
    for handle in handles:
        handle.remove()


def denoiser(
    attention: tuple[bool, ...] = (True, True, False), layers: int = 2, **settings: object
) -> Denoiser:
    """A small U-Net whose output layers are not zero."""
    channels = (16, 16, 32, 32)[-len(attention) :]
    widths = {"block_channels": channels, "attention": attention, "layers_per_block": layers}
    net = small_denoiser(4, 16, zero_init=False, **widths, **settings)  # type: ignore[arg-type]
    return net.eval().requires_grad_(False)


def inputs(side: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, times, three words of text of which the second image has two."""
    mask = torch.tensor([[True, True, True], [True, True, False]])
    return torch.randn(2, 4, side, side), torch.tensor([50, 7]), torch.randn(2, 3, 16), mask


def whole_pass(net: Denoiser, read: tuple[Tensor, Tensor, Tensor, Tensor]) -> list[Tensor]:
    """The taps of a pass that goes on to the predicted noise."""
    with recorded_inputs(tapped_blocks(net.unet.up_blocks)) as maps:
        net(*read)
    return maps


def are_equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Whether both hold the same bits in the same order."""
    assert len(ours) == len(theirs) > 1
    return all(one.equal(other) for one, other in zip(ours, theirs, strict=True))


SHAPES = [
    ((False, False, True), 1),
    ((True, True, True), 1),
    ((True, False), 2),
    ((True, True, True, False), 2),  # SD-1.5's
    ((False, True, True), 3),
]


@pytest.mark.parametrize(("attention", "layers"), SHAPES, ids=str)
def test_unet_maps_are_those_of_the_whole_pass(
    attention: tuple[bool, ...], layers: int, seed: int
) -> None:
    net, read = denoiser(attention, layers), inputs()
    assert are_equal(net.maps(*read), whole_pass(net, read))


def test_unet_maps_are_those_of_the_whole_pass_in_mixed_precision(seed: int) -> None:
    net, read = denoiser(sdpa=False), inputs()  # whose 16-bit kernel not every CPU has
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = net.maps(*read), whole_pass(net, read)
    assert ours[-1].dtype == torch.bfloat16 and are_equal(ours, theirs)


def test_unet_maps_compile_as_one_graph(seed: int) -> None:
    net, read = denoiser((False, True), 1), inputs(8)
    compiled = torch.compile(net.maps, backend="eager", fullgraph=True)
    assert are_equal(compiled(*read), net.maps(*read))


@pytest.mark.parametrize("layers_per_block", [1, 2])
def test_encoder_maps_and_mean_are_those_of_the_library(layers_per_block: int, seed: int) -> None:
    net, image = (
        small_vae(layers_per_block=layers_per_block).eval().requires_grad_(False).vae,
        torch.randn(2, 3, 32, 48),
    )
    mean, maps = encoder_maps(net, image)
    with recorded_inputs(tapped_blocks(net.encoder.down_blocks[-2:])) as expected:
        expected_mean = net.encode(image).latent_dist.mode()
    assert are_equal([mean, *maps], [expected_mean, *expected])


@pytest.mark.parametrize("layers_per_block", [1, 2])
def test_decoder_maps_are_those_of_a_whole_decoding(layers_per_block: int, seed: int) -> None:
    net, z = (
        small_vae(layers_per_block=layers_per_block).eval().requires_grad_(False).vae,
        torch.randn(2, 4, 4, 6),
    )
    with recorded_inputs(tapped_blocks(net.decoder.up_blocks[:2])) as expected:
        net.decode(z)
    assert are_equal(decoder_maps(net, z), expected)


def tera_flop(work: Callable[[], object]) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / TERA


def test_truncated_unet_pass_is_0_740_of_0_803_tf() -> None:
    with torch.device("meta"):
        net, latents = Denoiser(4, 768), torch.zeros(1, 4, 64, 64)
        t, text, mask = torch.ones(1), torch.zeros(1, 77, 768), torch.ones(1, 77)
    assert tera_flop(lambda: net(latents, t, text, mask)) == pytest.approx(0.803, rel=0.01)
    assert tera_flop(lambda: net.maps(latents, t, text, mask)) == pytest.approx(0.740, rel=0.01)
