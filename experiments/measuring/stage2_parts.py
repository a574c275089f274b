"""Stage 2 with random weights at any width, for measurements that need no training."""

from functools import partial

import torch
from torch import Tensor

from datamodules.vocabulary import Vocabulary
from experiments.measuring.bare_loops import Sizes
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.image_encoder import ClipImageEncoder, ImageEncoder, TimmImageEncoder
from lightning_modules.nets.mask_generator import MaskGenerator
from lightning_modules.nets.text_encoder import HashedTextEncoder
from lightning_modules.weights_io import RANDOM

NAMES = ("scratch", "dent", "crack")
LIGHT_TOWER = "test_resnet"  # timm's smallest
MASK_WIDTH, UNET_WIDTH = 256, 320  # of the paper's scale
PAPER_SIZES = Sizes(
    unet_channels=(320, 640, 1280, 1280),
    vae_channels=(128, 256, 512, 512),
    text_width=768,
    norm_groups=32,
    batch_size=1,
    image_size_px=512,
)


class RandomClipImageEncoder(ClipImageEncoder):
    """The paper's image tower with weights as they come: it costs the same as the read one."""

    def load(self) -> None:
        """Reads nothing."""
        self._loaded = True


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


def make_paper_diffusion() -> DiffusionModel:
    """The paper's nets at full width, the image tower too; its text tower is not needed."""
    tower = RandomClipImageEncoder()
    tower.load()
    return make_diffusion(PAPER_SIZES, tower)


def make_stage2(diffusion: DiffusionModel, sizes: Sizes, mode: str = "single") -> MaskFinetune:
    """Stage 2 over `diffusion` without names; its heads are as much narrower as the U-Net is."""
    width = MASK_WIDTH * sizes.unet_channels[0] // UNET_WIDTH
    generator = MaskGenerator(width, feedforward_width=8 * width, pixel_feedforward_width=4 * width)
    side_px = sizes.image_size_px
    model = MaskFinetune(
        diffusion,
        generator,
        RANDOM,
        taps="full",
        feature_mode=mode,
        tile_px=side_px,
        tile_overlap_px=side_px // 4,
    )
    return model.eval()


def name_defects(model: MaskFinetune) -> MaskFinetune:
    """The model, which now names three types."""
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    return model


def random_pictures(sizes: Sizes) -> Tensor:
    """A batch of noise in [-1, 1], (B, 3, side, side)."""
    side_px = sizes.image_size_px
    return torch.rand(sizes.batch_size, 3, side_px, side_px) * 2 - 1
