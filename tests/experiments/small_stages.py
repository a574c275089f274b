"""Run directories of all stages at their smallest: real nets, configurations and checkpoints."""

import json
from pathlib import Path

import torch

from datamodules.vocabulary import Vocabulary
from experiments.checkpoints import write_configuration
from experiments.config import build_stage, load_config, parse_stage
from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.image_encoder import ClipImageEncoder
from lightning_modules.nets.text_encoder import ClipTextEncoder
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.weights_io import STAMP, stamp

ENTRIES = Vocabulary.parse("crack, fissure; stain").entries
SIDE_PX = 32
NETS = "lightning_modules.nets"
VAE = {"block_channels": [8, 16], "layers_per_block": 1, "norm_groups": 4}
TEXT = {"width": 16, "layers": 1, "heads": 2, "intermediate_width": 16}
IMAGE = {
    "width": 8, "image_size_px": 32, "patch_px": 16, "layers": 1, "heads": 2, "hidden_width": 16,
}  # fmt: skip
UNET = {
    "block_channels": [16, 32],
    "attention": [False, True],
    "layers_per_block": 1,
    "attention_heads": 2,
    "norm_groups": 8,
    "zero_init": False,
}


def write_weights(folder: Path) -> None:
    """Folders of a VAE and of CLIP's towers with random weights, as hubs have them."""
    torch.manual_seed(1)
    KlAutoencoder("", **VAE).vae.save_pretrained(folder / "sd" / "vae")
    ClipImageEncoder("", **IMAGE).tower.save_pretrained(folder / "image")
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [f"unused{index}" for index in range(len(words), 49406)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    tower = ClipTextEncoder("", **TEXT).tower
    # Published weights have this prefix, which the library takes off in memory.
    state = {f"text_model.{name}": value for name, value in tower.state_dict().items()}
    tower.save_pretrained(folder / "text", state_dict=state)
    numbered = {word: index for index, word in enumerate(words)}
    (folder / "text" / "vocab.json").write_text(json.dumps(numbered))
    (folder / "text" / "merges.txt").write_text("#version: 0.2\n")


def paper_words(weights: Path) -> dict[str, str]:
    """The paper's classes for stage 1 at a small width, with weights from `weights`."""
    parts = {
        "autoencoder": ("autoencoder.KlAutoencoder", {"pretrained": f"{weights}/sd", **VAE}),
        "text_encoder": ("text_encoder.ClipTextEncoder", {"pretrained": f"{weights}/text", **TEXT}),
        "image_encoder": (
            "image_encoder.ClipImageEncoder", {"pretrained": f"{weights}/image", **IMAGE},
        ),
        "denoiser": ("denoiser.Denoiser", UNET),
    }  # fmt: skip
    nodes = {
        name: json.dumps({"class_path": f"{NETS}.{kind}", "init_args": arguments})
        for name, (kind, arguments) in parts.items()
    }
    key = "model.init_args.diffusion.init_args"
    return {f"{key}.{name}": node for name, node in nodes.items()}


def write_run(directory: Path, config: str, overrides: dict[str, str]) -> Path:
    """The run directory of an untrained stage of `config`: config.yaml and checkpoint."""
    torch.manual_seed(0)
    settings = parse_stage(load_config([config], overrides))
    settings.trainer = None
    write_configuration(settings, directory)
    model = build_stage(settings).model
    if isinstance(model, SegmentationModule):
        model.load()
        model.set_vocabulary(Vocabulary(ENTRIES))
        mark = stamp(model.stage, ENTRIES)
    else:
        model.diffusion.load()
        mark = stamp("pretrain", ENTRIES, image_size_px=SIDE_PX)
    file = directory / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    torch.save({STAMP: mark, "state_dict": model.state_dict()}, file)
    return directory
