"""Claims about every net alike: shapes, gradients, the same answer from the same state."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.nets.autoencoder import DctAutoencoder
from lightning_modules.nets.class_head import ClassHead
from lightning_modules.nets.clip_mask_pooling import ClipMaskPooling
from lightning_modules.nets.diffusion_model import ImplicitCaptioner
from lightning_modules.nets.feature_pyramid import FeaturePyramid
from lightning_modules.nets.image_encoder import (
    ClipImageEncoder,
    PretrainedTimmImageEncoder,
    TimmImageEncoder,
)
from lightning_modules.nets.mask_generator import MaskQueries
from lightning_modules.nets.taesd_autoencoder import TaesdAutoencoder
from lightning_modules.nets.text_encoder import ClipTextEncoder
from tests.lightning_modules.small_parts import small_denoiser, small_generator, small_vae

BATCH, STRIDES = 2, (4, 8, 16, 32)
IMAGE = torch.rand(BATCH, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
LATENTS = torch.zeros(1, 32, 8, 8)


def taps() -> list[Tensor]:
    return [torch.randn(BATCH, 6, 64 // stride, 64 // stride) for stride in STRIDES]


def call_denoiser(net: nn.Module) -> Tensor:
    text, mask = torch.randn(BATCH, 3, 16), torch.ones(BATCH, 3, dtype=torch.bool)
    return net(torch.randn(BATCH, 4, 8, 8), torch.tensor([1, 900]), text, mask)


def call_generator(net: nn.Module) -> list[Tensor]:
    found = net([torch.randn(BATCH, 32, 64 // stride, 64 // stride) for stride in STRIDES])
    return [found.masks, found.queries, found.mask_features]


def call_head(net: nn.Module) -> Tensor:
    outputs = MaskQueries(
        torch.randn(3, BATCH, 5, 8, 8), torch.randn(3, BATCH, 5, 16), torch.randn(BATCH, 16, 8, 8)
    )
    return net(outputs, torch.randn(4, 6), torch.tensor([0, 1, 1, 2]), 3)


def hybrid() -> FeaturePyramid:
    return FeaturePyramid(
        tap_channels=[6] * 4,
        tap_strides=list(STRIDES),
        width=16,
        strides=STRIDES,
        kind="diffusion+timm",
        stem=True,
        encoder="test_resnet",
    )


def there_and_back(net: nn.Module) -> list[Tensor]:
    z = net.encode(IMAGE)
    return [z, net.decode(z)]


# name -> how it is built, how it is called, and the shapes of what comes out
Shapes = list[tuple[int, ...]]
NETS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor | list[Tensor]], Shapes]] = {
    "denoiser": (lambda: small_denoiser(4, 16, zero_init=False), call_denoiser, [(BATCH, 4, 8, 8)]),
    "mask generator": (
        small_generator,
        call_generator,
        [(3, BATCH, 6, 16, 16), (3, BATCH, 6, 32), (BATCH, 32, 16, 16)],
    ),
    "class head": (lambda: ClassHead(16, 6), call_head, [(3, BATCH, 5, 3)]),
    "hybrid pyramid": (
        hybrid,
        lambda net: net(IMAGE, taps()),
        [(BATCH, 16, 64 // stride, 64 // stride) for stride in STRIDES],
    ),
    "captioner": (
        lambda: ImplicitCaptioner(6, 16),
        lambda net: net(torch.randn(BATCH, 6)),
        [(BATCH, 16)],
    ),
    "image tower": (
        lambda: TimmImageEncoder("test_resnet"),
        lambda net: net(IMAGE),
        [(BATCH, TimmImageEncoder("test_resnet").width)],
    ),
    "vae": (small_vae, there_and_back, [(BATCH, 4, 8, 8), (BATCH, 3, 64, 64)]),
    "dct": (DctAutoencoder, there_and_back, [(BATCH, 32, 8, 8), (BATCH, 3, 64, 64)]),
}
LEARNS = [name for name in NETS if name not in ("vae", "dct")]


def answers(name: str, net: nn.Module) -> list[Tensor]:
    """What the net says to the same input each time."""
    torch.manual_seed(1)
    found = NETS[name][1](net)
    return [found] if isinstance(found, Tensor) else found


def all_equal(some: Iterable[Tensor], others: Iterable[Tensor]) -> bool:
    return all(one.equal(other) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("name", NETS)
def test_shapes_are_those_said(name: str, seed: int) -> None:
    build, _, shapes = NETS[name]
    assert [tuple(each.shape) for each in answers(name, build())] == shapes


@pytest.mark.parametrize("name", LEARNS)
def test_gradient_reaches_every_weight(name: str, seed: int) -> None:
    net = NETS[name][0]()
    for weight in net.parameters():  # of which some start at zero and hold others back
        weight.data += 0.02 * torch.randn_like(weight)
    torch.stack([each.square().sum() for each in answers(name, net)]).sum().backward()
    unreached = [n for n, w in net.named_parameters() if w.grad is None or not w.grad.any()]
    assert not unreached


@pytest.mark.parametrize("name", NETS)
def test_answer_follows_from_the_seed_and_travels_in_the_state(name: str, seed: int) -> None:
    nets = []
    for number in (0, 0, 7):
        torch.manual_seed(number)
        nets.append(NETS[name][0]().eval())
    one, same, other = nets
    assert all_equal(answers(name, one), answers(name, same))
    assert name == "dct" or not all_equal(answers(name, one), answers(name, other))
    other.load_state_dict(one.state_dict())
    assert all_equal(answers(name, one), answers(name, other))


# name -> how it is built for files that are not there, and what it must not do without them
FROM_FILES: dict[str, tuple[Callable[[str], Any], Callable[[Any], object] | None]] = {
    "taesd encoder": (lambda at: TaesdAutoencoder(at, at), lambda net: net.encode(IMAGE)),
    "taesd decoder": (lambda at: TaesdAutoencoder(at, at), lambda net: net.decode(LATENTS)),
    "timm tower": (
        lambda at: PretrainedTimmImageEncoder(at, "test_resnet"),
        lambda net: net(IMAGE),
    ),
    "clip tower": (lambda at: ClipImageEncoder(at, layers=1), lambda net: net(IMAGE)),
    "clip text": (lambda at: ClipTextEncoder(at, layers=1), lambda net: net(["crack"])),
    "clip pooling": (ClipMaskPooling, lambda net: net.model),
    "vae": (small_vae, None),
    "denoiser": (lambda at: small_denoiser(4, 16, init=at), None),
}


@pytest.mark.parametrize("name", FROM_FILES)
def test_missing_weights_are_one_line_and_never_random(name: str, tmp_path: Path) -> None:
    build, use = FROM_FILES[name]
    net = build(str(tmp_path / "none"))
    with pytest.raises((ValueError, FileNotFoundError), match=r"none.*expected|missing") as caught:
        net.load()
    assert "\n" not in str(caught.value)
    if use:
        with pytest.raises(RuntimeError, match="call load"):
            use(net)
