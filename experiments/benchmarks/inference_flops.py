"""Work of one image through stage 2 in TF (1e12 FLOP, a multiply-add is 2), stage by stage.

Counted on the nets of stage2.yaml as fake tensors, like `stage1_flops.py`. The reference of the
whole is the ancestor's pass: the U-Net to its end and the decoder to an image. torch counts no
grid sampling, in the mask generator under 1 % of its work.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.benchmarks.stage1_flops import (
    LATENT_SIDE,
    count,
    count_image_tower,
    fake_parts,
)
from experiments.configuration import load_layers, parse_stage
from experiments.measuring.measurements import BenchSettings, Measurement
from lightning_modules.nets.class_head import ClassHead
from lightning_modules.nets.diffusion_features import DiffusionFeatures
from lightning_modules.nets.feature_pyramid import FeaturePyramid
from lightning_modules.nets.image_encoder import ClipImageEncoder
from lightning_modules.nets.mask_generator import MaskGenerator
from lightning_modules.nets.taesd_autoencoder import TaesdAutoencoder

VERB = "inference"
CONFIG = "stage2.yaml"
SIDE_PX = 8 * LATENT_SIDE
CLASS_COUNT = 100
# What the stages and the ways through them are known to cost at 512 px, TF an image.
KNOWN_STAGES_TF = {
    "VAE encoding": 1.117,
    "image tower and captioner": 0.035,
    "U-Net to its last tap": 0.740,
    "VAE decoding to its last tap": 0.623,
    "pyramid": 0.031,
    "mask generator": 0.092,
}
KNOWN_WHOLE_TF = {"U-Net to its end": 0.803, "VAE decoding to the image": 2.515}
KNOWN_PASSES_TF = {
    "same taps, stopped at the last": 2.480,
    "no decoder taps": 1.857,
    "TAESD's encoder, no decoder taps": 0.862,
}
KNOWN_ANCESTOR_TF = 4.435


@dataclass(frozen=True, slots=True)
class ImageWork:
    """TF an image of each stage, of the two nets run to their ends, and of TAESD's encoder."""

    stages: dict[str, float]
    whole_unet: float
    whole_decoder: float
    taesd_encoder: float

    @property
    def ancestor(self) -> float:
        """The ancestor's features, image tower left out."""
        return self.stages["VAE encoding"] + self.whole_unet + self.whole_decoder

    @property
    def passes(self) -> dict[str, float]:
        """Our ways to features, image tower left out."""
        encoder, unet = self.stages["VAE encoding"], self.stages["U-Net to its last tap"]
        decoder = self.stages["VAE decoding to its last tap"]
        counted = (encoder + unet + decoder, encoder + unet, self.taesd_encoder + unet)
        return dict(zip(KNOWN_PASSES_TF, counted, strict=True))


def measure(settings: BenchSettings) -> list[Measurement]:
    """Each stage beside what it is known to cost; each way to features beside the ancestor's."""
    work = count_image()
    whole = dict(zip(KNOWN_WHOLE_TF, (work.whole_unet, work.whole_decoder), strict=True))
    known = KNOWN_STAGES_TF | KNOWN_WHOLE_TF
    rows = [
        _row(name, counted, known.get(name), 1.0) for name, counted in (work.stages | whole).items()
    ]
    rows += [
        _row(f"features, {name}", work.passes[name], work.ancestor, KNOWN_ANCESTOR_TF / limit)
        for name, limit in KNOWN_PASSES_TF.items()
    ]
    return [*rows, _row("whole image, tensors in, masks out", sum(work.stages.values()), None, 1.0)]


def count_image() -> ImageWork:
    """The work of one image of stage2.yaml at 512 px."""
    with fake_parts(CONFIG) as model, torch.no_grad():
        features = DiffusionFeatures(model, feature_timestep=50, taps="full")
        image = torch.zeros(1, 3, SIDE_PX, SIDE_PX)
        z_0, _ = model.autoencoder.encode_with_maps(image)
        text, t = torch.zeros(1, 1, model.text_encoder.width), torch.ones(1, dtype=torch.int64)
        mask = torch.ones(1, 1, dtype=torch.bool)
        tower = model.image_encoder
        assert isinstance(tower, ClipImageEncoder)
        captioning = count(lambda: model.captioner(torch.zeros(1, tower.width)))
        frozen = (
            count(lambda: model.autoencoder.encode_with_maps(image)),
            count_image_tower(tower) + captioning,
            count(lambda: model.denoiser.maps(z_0, t, text, mask)),
            count(lambda: model.autoencoder.maps_of_decoding(z_0)),
        )
        stages = dict(zip(KNOWN_STAGES_TF, frozen, strict=False))
        taesd = TaesdAutoencoder("", "", latent_channels=model.autoencoder.latent_channels)
        return ImageWork(
            stages=stages | count_heads(features, image),
            whole_unet=count(lambda: model.denoiser(z_0, t, text, mask)),
            whole_decoder=count(lambda: model.autoencoder.decode(z_0)),
            taesd_encoder=count(lambda: taesd.encoder(image)),
        )


def count_heads(features: DiffusionFeatures, image: Tensor) -> dict[str, float]:
    """TF of the parts that learn, on maps of the shapes that `features` gives."""
    settings = parse_stage(load_layers([CONFIG])).model.init_args.mask_generator.init_args
    generator = MaskGenerator(**settings).eval()  # in training it looks at values
    pyramid = FeaturePyramid(
        tap_channels=features.channels,
        tap_strides=features.strides,
        width=generator.width,
        strides=generator.strides,
        stem=False,
        encoder="",
    )
    text_width = features.diffusion.text_encoder.width
    head = ClassHead(generator.width, text_width)
    texts, owner = torch.zeros(CLASS_COUNT, text_width), torch.arange(CLASS_COUNT)
    shapes = zip(features.channels, features.strides, strict=True)
    taps = [torch.zeros(1, channels, SIDE_PX // s, SIDE_PX // s) for channels, s in shapes]
    maps = pyramid(image, taps)
    outputs = generator(maps)
    return {
        "pyramid": count(lambda: pyramid(image, taps)),
        "mask generator": count(lambda: generator(maps)),
        f"class head, {CLASS_COUNT} names": count(lambda: head(outputs, texts, owner, CLASS_COUNT)),
    }


def _row(name: str, ours: float, known: float | None, limit: float) -> Measurement:
    """A figure beside a known or a counted one; the ratio is above 1 where ours is less work."""
    return Measurement(
        f"work: {name}",
        ours,
        known,
        "TF/image",
        known / ours if known else None,
        limit if known else None,
        {"px": SIDE_PX, "width": "full", "counted": "on shapes"},
    )
