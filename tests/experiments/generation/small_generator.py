"""A stage 1 that can draw, as a run leaves it, and good images to paint into."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from experiments.checkpoints import write_configuration
from experiments.config import build_stage, load_config, parse_stage
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.weights_io import STAMP, stamp
from tests.lightning_modules.small_parts import defect_batch

SIDE_PX = 64


def write_run(directory: Path) -> Path:
    """The run directory of an untrained stage 1 of 64 px whose denoiser says something."""
    raw: dict = load_config(["stage1_tiny.yaml"])
    parts = raw["model"]["init_args"]["diffusion"]["init_args"]
    parts["image_encoder"]["init_args"]["model_name"] = "test_resnet"
    parts["denoiser"]["init_args"] |= {"block_channels": [16, 16, 32], "norm_groups": 8}
    raw["trainer"]["callbacks"] = []
    settings = parse_stage(raw)
    torch.manual_seed(0)
    model = build_stage(settings).model
    assert isinstance(model, DiffusionPretrain)
    model.measure(defect_batch().image)
    nn.init.normal_(model.diffusion.denoiser.unet.conv_out.weight, std=0.05)
    file = directory / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    mark = stamp("pretrain", (("good",), ("crack",)), image_size_px=SIDE_PX)
    torch.save({STAMP: mark, "state_dict": model.state_dict()}, file)
    write_configuration(settings, directory)
    return directory


def write_goods(folder: Path) -> Path:
    """Four good images: grey, colour, smaller than the U-Net's side, and oblong."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in {
        "grey": (90, 120),
        "colour": (100, 70, 3),
        "little": (40, 50),
        "oblong": (30, 200, 3),
    }.items():
        pixels = rng.integers(60, 200, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def write_masks(goods: Path, folder: Path) -> Path:
    """A mask for each good image: an upright block near its left border."""
    folder.mkdir()
    for path in goods.iterdir():
        width, height = Image.open(path).size
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[height // 2 - 10 : height // 2 + 10, 2:12] = 255
        Image.fromarray(mask).save(folder / path.name)
    return folder
