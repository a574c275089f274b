"""A trained stage as a release: which files hold its weights, and a config that names no machine.

The command is `export.py`; `checkpoints.py` opens what is written here.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from lightning import LightningModule
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from experiments.checkpoints import (
    CONFIG_NAME,
    GALLERY,
    INSIDE,
    PRETRAINED_KEY,
    THRESHOLDS_NAME,
    Restored,
)
from experiments.inference.new_words import SEEN_REGIONS
from experiments.typed_words import write_words
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.diffusion_model import NoiseSchedule
from lightning_modules.nets.image_encoder import ClipImageEncoder
from lightning_modules.nets.text_encoder import ClipTextEncoder
from lightning_modules.weights_io import WeightFile, write_release_index

SINGLE_FILE = "model.safetensors"
CAPTIONER_FOLDER = "implicit_captioner"
UNET_PREFIX = "diffusion.denoiser.unet."
# The classes that read their weights by name: the attribute that holds them, and their folder.
HUB_PARTS: dict[type[nn.Module], tuple[str, str]] = {
    KlAutoencoder: ("vae", "vae"),
    ClipTextEncoder: ("tower", "text_encoder"),
    ClipImageEncoder: ("tower", f"{CAPTIONER_FOLDER}/image_encoder"),
}
FOLDERS = {f"{kind.__module__}.{kind.__name__}": folder for kind, (_, folder) in HUB_PARTS.items()}
# One file a net, whatever its size: the index names each.
SHARD_LIMIT = "1000GB"


def why_no_pipeline(model: LightningModule) -> str:
    """Why diffusers has no pipeline for this model; "" where it has one."""
    if not isinstance(model, DiffusionPretrain):
        return f"{type(model).__name__} is no text-to-image model"
    parts = model.diffusion
    for part, kind in ((parts.autoencoder, KlAutoencoder), (parts.text_encoder, ClipTextEncoder)):
        if type(part) is not kind:
            return f"diffusers has no counterpart of {type(part).__name__}"
    unet = parts.denoiser.unet
    with torch.device("meta"):
        rebuilt = UNet2DConditionModel.from_config(unet.config)
    ours, theirs = (
        {name: value.shape for name, value in net.state_dict().items()} for net in (unet, rebuilt)
    )
    if ours != theirs:
        return "diffusers' U-Net has no such time embedding (time_embedding: paper)"
    return ""


def write_release(folder: Path, restored: Restored) -> str:
    """Weights, release.json, config.yaml and thresholds.json in `folder`; why it is no pipeline.

    The answer is "" where diffusers opens the folder. Raises ValueError for two parts of one
    folder.
    """
    model = restored.model
    reason = why_no_pipeline(model)
    places, rest_file = list(write_hub_parts(folder, model)), SINGLE_FILE
    if isinstance(model, DiffusionPretrain) and not reason:
        write_pipeline(folder, model)
        places.append(place_of(folder, "unet", model.diffusion.denoiser.unet, UNET_PREFIX))
        rest_file = f"{CAPTIONER_FOLDER}/{SINGLE_FILE}"
    forget_names(folder)
    prefixes = tuple(place.state_prefix for place in places)
    state = model.state_dict().items()
    rest = {name: value for name, value in state if not name.startswith(prefixes)}
    write_tensors(folder / rest_file, rest)
    write_release_index(folder, restored.saved, [*places, WeightFile("", rest_file)])
    text = write_words(without_machine(restored.raw))
    (folder / CONFIG_NAME).write_text(text, encoding="utf-8")
    if (restored.directory / THRESHOLDS_NAME).is_file():
        shutil.copyfile(restored.directory / THRESHOLDS_NAME, folder / THRESHOLDS_NAME)
    for inner in (SEEN_REGIONS, GALLERY):
        if (restored.directory / inner).is_dir():
            shutil.copytree(restored.directory / inner, folder / inner)
    return reason


def write_hub_parts(folder: Path, model: nn.Module) -> Iterator[WeightFile]:
    """Writes each part that reads its weights by name into its folder; where its weights are."""
    for name, module in model.named_modules():
        if type(module) not in HUB_PARTS:
            continue
        attribute, part = HUB_PARTS[type(module)]
        if (folder / part).exists():
            raise ValueError(f"the model has two {type(module).__name__}: expected one at most")
        net = getattr(module, attribute)
        net.save_pretrained(folder / part, max_shard_size=SHARD_LIMIT)
        if isinstance(module, ClipTextEncoder):
            tokenizer_of(module).save_pretrained(folder / part)
        yield place_of(folder, part, net, f"{name}.{attribute}.")


def place_of(folder: Path, part: str, net: nn.Module, state_prefix: str) -> WeightFile:
    """Where the weights of a part are; the library may put a prefix of its own before names."""
    (file,) = (folder / part).glob("*.safetensors")
    with safe_open(file, framework="pt") as content:
        written = set(content.keys())
    names = set(net.state_dict())
    for prefix in ("", *sorted({name.partition(".")[0] + "." for name in written})):
        if {prefix + name for name in names} == written:
            return WeightFile(state_prefix, file.relative_to(folder).as_posix(), prefix)
    raise ValueError(
        f"{part} was written under other names than {type(net).__name__} has in memory, first "
        f"{min(written ^ names)!r}: expected the same ones; use the package versions of the run"
    )


def write_pipeline(folder: Path, model: DiffusionPretrain) -> None:
    """Completes a StableDiffusionPipeline's folder, where vae and text_encoder already are."""
    parts = model.diffusion
    assert isinstance(parts.autoencoder, KlAutoencoder)
    assert isinstance(parts.text_encoder, ClipTextEncoder)
    unet, tokenizer = parts.denoiser.unet, tokenizer_of(parts.text_encoder)
    # The pipeline draws images of this side where nobody says another.
    unet.register_to_config(sample_size=model.image_size_px // parts.autoencoder.stride or None)
    scheduler = scheduler_of(parts.schedule)
    pipeline = StableDiffusionPipeline(
        vae=parts.autoencoder.vae,
        text_encoder=parts.text_encoder.tower,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_config(folder)
    unet.save_pretrained(folder / "unet", max_shard_size=SHARD_LIMIT)
    tokenizer.save_pretrained(folder / "tokenizer")
    scheduler.save_pretrained(folder / "scheduler")


def tokenizer_of(text_encoder: ClipTextEncoder) -> CLIPTokenizer:
    """The tokenizer with the length that a text may have: its own files often lack it."""
    tokenizer = text_encoder.tokenizer
    assert tokenizer is not None, "a restored stage has its tokenizer"
    tokenizer.model_max_length = text_encoder.max_tokens
    return tokenizer


def scheduler_of(schedule: NoiseSchedule) -> DDPMScheduler:
    """The ancestral sampler of diffusers on our betas (eq. 3-5, 7): time 0..T-1 there is our 1..T.

    `trailing` starts at T and steps as `nets/sampler.py` does; steps_offset then counts for
    nothing, and 1 is what the pipeline expects. The clean latent is not held within a limit:
    the pipeline takes no scheduler that does.
    """
    alpha_bar = schedule.alpha_bar.double().cpu()
    return DDPMScheduler(
        num_train_timesteps=schedule.diffusion_steps,
        trained_betas=(1 - alpha_bar[1:] / alpha_bar[:-1]).tolist(),
        variance_type="fixed_small",
        prediction_type="epsilon",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )


def forget_names(folder: Path) -> None:
    """Takes the places that weights once came from out of the libraries' own JSON files."""
    for file in folder.rglob("*config.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_tensors(file: Path, state: Mapping[str, Tensor]) -> None:
    """A safetensors file of `state`; the format knows no tied weights: each name gets a copy."""
    file.parent.mkdir(parents=True, exist_ok=True)
    plain = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
    save_file(plain, file, metadata={"format": "pt"})


def without_machine(node: object) -> object:
    """The configuration with weights in the release's own folders, and no path of a machine.

    A path that leads out of the working folder is cut to its last name.
    """
    if isinstance(node, Mapping):
        plain = {key: without_machine(value) for key, value in node.items()}
        arguments, part = plain.get("init_args"), FOLDERS.get(str(plain.get("class_path")))
        if part and isinstance(arguments, dict):
            arguments[PRETRAINED_KEY] = INSIDE + part
            if "subfolder" in arguments:
                arguments["subfolder"] = ""
        return plain
    if isinstance(node, list | tuple):
        return [without_machine(value) for value in node]
    if isinstance(node, str) and node.startswith(("/", "~", "../", "file:")):
        return PurePosixPath(node).name
    return node
