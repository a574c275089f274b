"""Crops a second from a picture to its masks, 1 and 16 at once, beside the ancestor's features.

Both sides have the same weights, heads, tiles and post-processing at quarter width; the ancestor's
features come one crop after the other. One crop must give the same bits. 128 px, so that 16 crops
do not take minutes. A ratio on a CPU says nothing of a GPU.
"""

import copy
from functools import partial

import torch
from torch import Tensor

from experiments.measuring.ancestor_features import AncestorFeatures
from experiments.measuring.bare_loops import Sizes
from experiments.measuring.measurements import (
    FEWEST_REPEATS,
    BenchSettings,
    Measurement,
    throughput,
)
from experiments.measuring.stage2_parts import make_diffusion, make_stage2, name_defects
from lightning_modules.mask_finetune import MaskFinetune

VERB = "inference"
SIZES = Sizes(image_size_px=128)
CROPS_A_SIDE = (1, 4)


def measure(settings: BenchSettings) -> list[Measurement]:
    """Crops a second of one crop and of a picture of sixteen, looked at seldom."""
    return measure_sizes(SIZES, CROPS_A_SIDE, repeats=FEWEST_REPEATS)


def measure_sizes(
    sizes: Sizes, crops_a_side: tuple[int, ...], *, repeats: int
) -> list[Measurement]:
    """The same at given sizes; RuntimeError where one crop's masks differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = name_defects(make_stage2(make_diffusion(sizes), sizes))
        pictures = [random_picture(ours, side) for side in crops_a_side]
    ancestor = copy.deepcopy(ours)
    features = ancestor.features
    ancestor.features = AncestorFeatures(features.diffusion, features.feature_timestep)
    crop = pictures[0][:, : ours.tile_px, : ours.tile_px]
    if not torch.equal(predict(ours, crop), predict(ancestor, crop)):
        raise RuntimeError("our masks of one crop are not those of the ancestor's features")
    return [
        throughput(
            f"end to end: batch {side**2}, beside whole nets one by one",
            partial(predict, ours, picture),
            partial(predict, ancestor, picture),
            count=side**2,
            unit="crops/s per core",
            repeats=repeats,
            settings={
                "px": sizes.image_size_px,
                "U-Net": "x".join(map(str, sizes.unet_channels)),
                "one crop": "same bits",
            },
        )
        for side, picture in zip(crops_a_side, pictures, strict=True)
    ]


def random_picture(model: MaskFinetune, crops_a_side: int) -> Tensor:
    """Noise (3, H, W) in [-1, 1] that the model cuts into so many crops along each side."""
    side_px = model.tile_px + (crops_a_side - 1) * (model.tile_px - model.tile_overlap_px)
    return torch.rand(3, side_px, side_px) * 2 - 1


@torch.no_grad()
def predict(model: MaskFinetune, picture: Tensor) -> Tensor:
    """The anomaly map of a picture, after all masks were made."""
    return model.predict_image(picture).anomaly_map
