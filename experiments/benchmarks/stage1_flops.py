"""Work of one training image in TF (1e12 FLOP, a multiply-add is 2), by torch's own counter.

Counted on the nets of stage1.yaml as fake tensors: shapes without memory, no clock, no noise. The
figures hold for any machine. What the activations weigh is in `stage1_activations.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jsonargparse import ArgumentParser
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from experiments.configuration import load_layers, parse_stage
from experiments.measuring.measurements import BenchSettings, Measurement
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.image_encoder import ClipImageEncoder
from lightning_modules.nets.text_encoder import ClipTextEncoder

VERB = "stage1"
CONFIG = "stage1.yaml"
LATENT_SIDE = 64  # of 512 px
TERA = 1e12
# What SD-1.5's parts are known to cost at 512 px, TF an image.
KNOWN_TF = {
    "U-Net forward": 0.803,
    "U-Net forward + backward": 2.470,
    "KL-VAE encoding": 1.117,
    "text tower": 0.0133,
}
KNOWN_PARAMETERS = 859_520_964


@dataclass(frozen=True, slots=True)
class StepWork:
    """TF an image of the U-Net's two passes, of the frozen parts, and the number of weights."""

    forward: float
    step: float
    checkpointed_step: float
    encoding: float
    text: float
    image_tower: float
    parameters: int

    @property
    def cached(self) -> float:
        """The whole step where latents and image embedding are read."""
        return self.step + self.text

    @property
    def online(self) -> float:
        """The whole step where both are computed from the picture."""
        return self.cached + self.encoding + self.image_tower


def measure(settings: BenchSettings) -> list[Measurement]:
    """Each part beside what it is known to cost, and the step online beside cached."""
    work = count_step()
    counted = (work.forward, work.step, work.encoding, work.text)
    rows = [
        _row(name, figure, known)
        for figure, (name, known) in zip(counted, KNOWN_TF.items(), strict=True)
    ]
    parameters = float(work.parameters), float(KNOWN_PARAMETERS)
    return [
        *rows,
        _row("image tower, ViT-B/16", work.image_tower, None),
        _row("U-Net forward + backward, gradient checkpointing", work.checkpointed_step, work.step),
        _row("whole step, cached latents beside online", work.cached, work.online, limit=None),
        Measurement("work: U-Net parameters", *parameters, "weights", 1.0, 1.0, {"of": CONFIG}),
    ]


def count_step() -> StepWork:
    """The work of a training image of stage1.yaml at 512 px."""
    with fake_parts(CONFIG) as model:
        checkpointed = Denoiser(4, model.text_encoder.width, gradient_checkpointing=True)
        forward, step = count_passes(model.denoiser, side=LATENT_SIDE)
        text, image_tower = model.text_encoder, model.image_encoder
        assert isinstance(text, ClipTextEncoder) and isinstance(image_tower, ClipImageEncoder)
        image = torch.zeros(1, 3, 8 * LATENT_SIDE, 8 * LATENT_SIDE)
        return StepWork(
            forward=forward,
            step=step,
            checkpointed_step=count_passes(checkpointed, side=LATENT_SIDE)[1],
            encoding=count(lambda: model.encode(image)),
            text=count_text(text),
            image_tower=count_image_tower(image_tower),
            parameters=sum(weight.numel() for weight in model.denoiser.parameters()),
        )


@contextmanager
def fake_parts(config: str) -> Iterator[DiffusionModel]:
    """The parts of a shipped stage 1, with everything made inside the block, without memory.

    The parts alone: metrics copy their state, and a copy of a fake tensor can end the process.
    """
    model = parse_stage(load_layers([config])).model
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(DiffusionModel, "diffusion")
    node = parser.parse_object({"diffusion": model.init_args.diffusion})
    with FakeTensorMode():
        yield parser.instantiate(node).diffusion


def inputs(
    batch_size: int, *, side: int, channels: int = 4, text_width: int = 768, tokens: int = 77
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a denoiser reads: latents, times, text and its mask, drawn at random."""
    return (
        torch.randn(batch_size, channels, side, side),
        torch.randint(1, 1001, (batch_size,)),
        torch.randn(batch_size, tokens, text_width),
        torch.ones(batch_size, tokens, dtype=torch.bool),
    )


def count_passes(denoiser: Denoiser, *, side: int) -> tuple[float, float]:
    """TF an image of the forward pass, and of forward and backward together."""
    read = inputs(1, side=side, text_width=denoiser.unet.config.cross_attention_dim)

    def step() -> None:
        denoiser(*read).square().mean().backward()

    with torch.no_grad():
        forward = count(lambda: denoiser(*read))
    return forward, count(step)


def count_text(encoder: ClipTextEncoder) -> float:
    """TF of one text of the tower's full length."""
    ids = torch.zeros(1, encoder.max_tokens, dtype=torch.int64)
    with torch.no_grad():
        return count(lambda: encoder.tower(input_ids=ids))


def count_image_tower(encoder: ClipImageEncoder) -> float:
    """TF of one picture at the tower's own size."""
    pixels = torch.zeros(1, 3, encoder.image_size_px, encoder.image_size_px)
    with torch.no_grad():
        return count(lambda: encoder.tower(pixel_values=pixels))


def count(work: Callable[[], object]) -> float:
    """TF of a piece of work."""
    aten = torch.ops.aten
    # The CPU's fused attention, which fake tensors take, has no formula in torch's own list.
    formulas = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        work()
    return counter.get_total_flops() / TERA


Shape = tuple[int, ...]


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    gradient: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object
) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _row(name: str, ours: float, known: float | None, *, limit: float | None = 1.0) -> Measurement:
    """A figure beside a known one; the ratio is above 1 where ours is less work."""
    return Measurement(
        f"work: {name}",
        ours,
        known,
        "TF/image",
        known / ours if known else None,
        limit if known else None,
        {"px": 8 * LATENT_SIDE, "width": "full", "counted": "on shapes"},
    )
