"""Stage 2: work, memory and time from an image to its masks, beside the paper's ancestor.

The ancestor takes the same features by whole nets, one crop after the other.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from datamodules.vocabulary import Vocabulary
from experiments.benchmarks.measurement import (
    FEWEST_REPEATS,
    BenchSettings,
    Measurement,
    Words,
    compare_times,
    count_peak_gb,
    count_tf,
    counted,
    time_in_turns,
    time_on_gpu,
)
from experiments.benchmarks.stage1 import PAPER_SIZES, Sizes, under_autocast
from lightning_modules.equations.diffusion import add_noise
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_features import DiffusionFeatures, shared_noise
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition
from lightning_modules.nets.image_encoder import ClipImageEncoder, ImageEncoder, TimmImageEncoder
from lightning_modules.nets.mask_generator import MaskGenerator
from lightning_modules.nets.text_encoder import HashedTextEncoder
from lightning_modules.weights_io import RANDOM

SIDE_PX, CLASS_COUNT, TIMESTEP = 512, 100, 50
THROUGHPUT_SIZES = Sizes(image_size_px=128)  # so that 16 crops do not take minutes
CROPS_A_SIDE = (1, 4)
PAPER_GB, PAPER_RATE = 18.7, 1 / 0.35  # the paper's pipeline on an A100, one image
LIGHT_TOWER = "test_resnet"  # timm's smallest


class AncestorFeatures(DiffusionFeatures):
    """The eight maps of `taps: full`, read by hooks from whole passes, one crop after the other.

    The U-Net runs to its end, the decoder to an image that nobody looks at. Written from a
    description of what that system computes, on our nets and noise: only the work differs.
    """

    def __init__(self, diffusion: DiffusionModel) -> None:
        super().__init__(diffusion, TIMESTEP, taps="full")

    @torch.no_grad()
    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (B, channels[i], H / strides[i], W / strides[i]) of image (B, 3, H, W)."""
        each = [self.maps_of_one(crop) for crop in image.split(1)]
        return [torch.cat(maps) for maps in zip(*each, strict=True)]

    def maps_of_one(self, crop: Tensor) -> list[Tensor]:
        """The maps of one crop (1, 3, H, W)."""
        model = self.diffusion
        vae = cast(KlAutoencoder, model.autoencoder).vae
        encoder_taps = [stage.resnets[1] for stage in vae.encoder.down_blocks[-2:]]
        unet_taps = [stage.resnets[-1] for stage in model.denoiser.unet.up_blocks]
        decoder_taps = [stage.resnets[2] for stage in vae.decoder.up_blocks[:2]]
        with recorded_inputs([*unet_taps, *encoder_taps, *decoder_taps]) as maps:
            z_0 = model.autoencoder.encode(crop)
            condition = implicit_condition(model.caption(crop))
            t = torch.full((1,), self.feature_timestep, device=crop.device)
            z_t = add_noise(z_0, shared_noise(z_0), t, model.schedule.alpha_bar)
            model.denoiser(z_t, t, condition.tokens, condition.mask)
            model.autoencoder.decode(z_0)
        return maps


@contextmanager
def recorded_inputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """A list of the first inputs of the modules, in their order, filled when the block ends."""
    inputs: dict[nn.Module, Tensor] = {}
    found: list[Tensor] = []

    def record(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs[module] = arguments[0]

    handles = [module.register_forward_pre_hook(record) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    found += [inputs[module] for module in modules]


def make_diffusion(sizes: Sizes, image_encoder: ImageEncoder | None = None) -> DiffusionModel:
    """The paper's nets at these widths with random weights; the image tower is a light one."""
    model = DiffusionModel(
        KlAutoencoder(block_channels=sizes.vae_channels, norm_groups=sizes.norm_groups),
        HashedTextEncoder(sizes.text_width),
        image_encoder or TimmImageEncoder(LIGHT_TOWER),
        denoiser=partial(
            Denoiser,
            block_channels=sizes.unet_channels,
            norm_groups=sizes.norm_groups,
            zero_init=False,  # zero outputs would hide where two passes differ
        ),
    )
    return model.eval()


def make_stage2(diffusion: DiffusionModel, sizes: Sizes) -> MaskFinetune:
    """Stage 2 on it; its heads are as much narrower than 256 as the U-Net is than 320."""
    width, side_px = 256 * sizes.unet_channels[0] // 320, sizes.image_size_px
    generator = MaskGenerator(width, feedforward_width=8 * width, pixel_feedforward_width=4 * width)
    model = MaskFinetune(
        diffusion, generator, RANDOM, taps="full", tile_px=side_px, tile_overlap_px=side_px // 4
    )
    return model.eval()


def name_defects(model: MaskFinetune, count: int = 3) -> MaskFinetune:
    """The model, which now names so many types."""
    model.set_vocabulary(Vocabulary.from_names([f"defect {number}" for number in range(count)]))
    return model


@contextmanager
def fake_stage2() -> Iterator[MaskFinetune]:
    """Stage 2 at full width under 16-bit autocast, and all made inside, without memory."""
    # Names are set outside: metrics copy their states, and texts are numbers, not shapes.
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    torch.set_default_dtype(torch.bfloat16)  # fake weights cannot be cast afterwards
    try:
        with fake:
            tower = ClipImageEncoder()
            tower.is_loaded = True  # random weights cost the same as those that are read
            model = make_stage2(make_diffusion(PAPER_SIZES, tower), PAPER_SIZES)
    finally:
        torch.set_default_dtype(torch.float32)
    name_defects(model, CLASS_COUNT)
    with fake, torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        yield model


def measure_work(settings: BenchSettings) -> list[Measurement]:
    """TF of an image at the paper's scale, counted: of its features beside the ancestor's, of all.

    torch counts no grid sampling, which is under 1 % of the mask generator's work; the text tower
    is left out, which is done once the names are set.
    """
    image = torch.zeros(1, 3, SIDE_PX, SIDE_PX)
    with fake_stage2() as model:
        full, unet, ancestor = (
            count_tf(partial(side, image)) for side in make_sides(model.features.diffusion)
        )
        whole = count_tf(partial(model.score_tiles, image))
    row = partial(counted, unit="TF/image")
    return [
        row("work: features, same taps, stopped at the last", full, ancestor),
        row("work: features, no decoder taps", unet, ancestor),
        row("work: whole image, tensors in, masks out", whole, None),
    ]


def measure_memory(settings: BenchSettings) -> list[Measurement]:
    """GB with the weights of one image's features and of the whole way to its masks, counted."""
    image = torch.zeros(1, 3, SIDE_PX, SIDE_PX)
    with fake_stage2() as model:
        full, _, ancestor = make_sides(model.features.diffusion)
        model.requires_grad_(True)  # the tracker fails at frozen weights
        calls = [partial(side, image) for side in (full, ancestor, model.score_tiles)]
        features, reference, whole = map(count_peak_gb, calls)
    return [
        counted("memory: features, beside whole nets", features, reference, "GB"),
        counted("memory: tensors in, masks out, beside the paper's", whole, PAPER_GB, "GB"),
    ]


def make_sides(
    diffusion: DiffusionModel,
) -> tuple[DiffusionFeatures, DiffusionFeatures, AncestorFeatures]:
    """Ours with all taps and with the U-Net's alone, and the ancestor's, over the same nets."""
    full, unet = (DiffusionFeatures(diffusion, TIMESTEP, taps) for taps in ("full", "unet"))
    return full, unet, AncestorFeatures(diffusion)


def measure_throughput(
    settings: BenchSettings,
    sizes: Sizes = THROUGHPUT_SIZES,
    crops_a_side: Sequence[int] = CROPS_A_SIDE,
) -> list[Measurement]:
    """Crops a second from an image to its masks, beside the same with the ancestor's features.

    RuntimeError where one crop's masks differ in a bit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = name_defects(make_stage2(make_diffusion(sizes), sizes))
        images = [image_of_crops(ours, side) for side in crops_a_side]
    other = copy.deepcopy(ours)
    other.features = AncestorFeatures(other.features.diffusion)
    crop = images[0][:, : ours.tile_px, : ours.tile_px]
    if not torch.equal(predict(ours, crop), predict(other, crop)):
        raise RuntimeError("our masks of one crop are not those of the ancestor's features")
    words: Words = {"px": sizes.image_size_px, "one crop": "same bits"}
    return [
        compare_times(
            f"end to end: batch {side**2}, beside whole nets one by one",
            *time_in_turns(
                [partial(predict, model, image) for model in (ours, other)], repeats=FEWEST_REPEATS
            ),
            count=side**2,
            unit="crops/s per core",
            settings=words,
        )
        for side, image in zip(crops_a_side, images, strict=True)
    ]


def image_of_crops(model: MaskFinetune, crops_a_side: int) -> Tensor:
    """Noise (3, H, W) in [-1, 1] that the model cuts into so many crops along each side."""
    side_px = model.tile_px + (crops_a_side - 1) * (model.tile_px - model.tile_overlap_px)
    return torch.rand(3, side_px, side_px) * 2 - 1


@torch.no_grad()
def predict(model: MaskFinetune, image: Tensor) -> Tensor:
    """The anomaly map of an image, after all masks were made."""
    return model.predict_image(image).anomaly_map


def measure_gpu(
    settings: BenchSettings, sizes: Sizes = PAPER_SIZES, device: torch.device | None = None
) -> list[Measurement]:
    """Images a second from pixels to masks on a GPU, frozen parts in bf16, beside the paper's."""

    def make(device: torch.device, *, crops_a_side: int) -> Callable[[], object]:
        with device:
            model = name_defects(make_stage2(make_diffusion(sizes), sizes))
        model.store_frozen_in(torch.bfloat16)
        model.to(memory_format=torch.channels_last)
        image = image_of_crops(model, crops_a_side).to(device)
        return under_autocast(partial(predict, model, image), device)

    return [
        time_on_gpu(
            f"GPU: image of {side**2} crops, beside the paper's one",
            partial(make, crops_a_side=side),
            PAPER_RATE if side == 1 else None,
            count=1,
            device=device,
        )
        for side in CROPS_A_SIDE
    ]


PARTS = {
    "work": measure_work,
    "memory": measure_memory,
    "throughput": measure_throughput,
    "gpu": measure_gpu,
}
