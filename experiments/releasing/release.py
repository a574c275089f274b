"""A trained stage as a release: which files hold its weights, and a config that names no machine.

The command is `export.py`, the card `model_card.py`; `checkpoints.py` opens what is written here.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path, PurePosixPath

import torch
import yaml
from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from lightning import LightningModule
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from experiments.checkpoints import CONFIG_NAME, INSIDE, PRETRAINED_KEY, Restored
from experiments.thresholds import THRESHOLDS_NAME
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.diffusion_model import NoiseSchedule
from lightning_modules.nets.image_encoder import ClipImageEncoder
from lightning_modules.nets.text_encoder import ClipTextEncoder
from lightning_modules.weights_io import WeightFile, write_release_index

PIPELINE_FILE = "model_index.json"
SINGLE_FILE = "model.safetensors"
CAPTIONER_FOLDER = "implicit_captioner"
UNET_PREFIX = "diffusion.denoiser.unet."
NAME_KEY = "_name_or_path"
# One file a net, whatever its size: the index names each.
SHARD_LIMIT = "1000GB"
# alpha_bar in diffusers' float32 arithmetic against ours, relative.
SCHEDULE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class HubPart:
    """A class that reads its weights by name: a release holds `attribute` of it in `folder`."""

    kind: type[nn.Module]
    attribute: str
    folder: str

    @property
    def class_path(self) -> str:
        """Its name in a configuration."""
        return f"{self.kind.__module__}.{self.kind.__name__}"


HUB_PARTS = (
    HubPart(KlAutoencoder, "vae", "vae"),
    HubPart(ClipTextEncoder, "tower", "text_encoder"),
    HubPart(ClipImageEncoder, "tower", f"{CAPTIONER_FOLDER}/image_encoder"),
)


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
    if _shapes(rebuilt) != _shapes(unet):
        return "diffusers' U-Net has no such time embedding (time_embedding: paper)"
    return ""


def write_release(folder: Path, restored: Restored) -> str:
    """Weights, release.json, config.yaml and thresholds.json in `folder`; why it is no pipeline.

    The answer is "" where diffusers opens the folder. Raises ValueError for what cannot be told
    apart in a release.
    """
    model = restored.model
    reason = why_no_pipeline(model)
    places = list(write_hub_parts(folder, model))
    rest_file = SINGLE_FILE
    if isinstance(model, DiffusionPretrain) and not reason:
        write_pipeline(folder, model, schedule_settings(restored.raw))
        places += [_place(folder, UNET_PREFIX, "unet", model.diffusion.denoiser.unet)]
        rest_file = f"{CAPTIONER_FOLDER}/{SINGLE_FILE}"
    forget_names(folder)
    prefixes = tuple(place.state_prefix for place in places)
    state = model.state_dict()
    rest = {name: value for name, value in state.items() if not name.startswith(prefixes)}
    write_tensors(folder / rest_file, rest)
    write_release_index(folder, restored.saved, [*places, WeightFile("", rest_file)])
    config = without_machine(restored.raw)
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    (folder / CONFIG_NAME).write_text(text, encoding="utf-8")
    if (restored.directory / THRESHOLDS_NAME).is_file():
        shutil.copyfile(restored.directory / THRESHOLDS_NAME, folder / THRESHOLDS_NAME)
    return reason


def write_hub_parts(folder: Path, model: nn.Module) -> Iterable[WeightFile]:
    """Writes each part that reads its weights by name into its folder; where its weights are."""
    taken: set[str] = set()
    for name, module in model.named_modules():
        for part in HUB_PARTS:
            if type(module) is not part.kind:
                continue
            if part.folder in taken:
                raise ValueError(f"the model has two {part.kind.__name__}: expected one at most")
            taken.add(part.folder)
            net = getattr(module, part.attribute)
            net.save_pretrained(folder / part.folder, max_shard_size=SHARD_LIMIT)
            if isinstance(module, ClipTextEncoder):
                tokenizer_of(module).save_pretrained(folder / part.folder)
            yield _place(folder, f"{name}.{part.attribute}.", part.folder, net)


def write_pipeline(folder: Path, model: DiffusionPretrain, schedule: Mapping[str, object]) -> None:
    """Completes a StableDiffusionPipeline's folder, where vae and text_encoder already are."""
    parts = model.diffusion
    assert isinstance(parts.autoencoder, KlAutoencoder)
    assert isinstance(parts.text_encoder, ClipTextEncoder)
    unet, tokenizer = parts.denoiser.unet, tokenizer_of(parts.text_encoder)
    # The pipeline draws pictures of this side where nobody says another.
    unet.register_to_config(sample_size=model.image_size_px // parts.autoencoder.stride or None)
    scheduler = scheduler_of(parts.schedule, schedule)
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
    """The tokenizer, told how long a text may be: its own files often do not say."""
    tokenizer = text_encoder.tokenizer
    assert tokenizer is not None, "a restored stage has its tokenizer"
    tokenizer.model_max_length = text_encoder.max_tokens
    return tokenizer


def scheduler_of(schedule: NoiseSchedule, settings: Mapping[str, object]) -> DDPMScheduler:
    """The ancestral sampler of diffusers on our betas (eq. 3-5, 7): time 0..T-1 there is our 1..T.

    `trailing` starts at T and steps as `nets/sampler.py` does; steps_offset then counts for
    nothing, and 1 is what the pipeline expects. The clean latent is not held within a limit:
    the pipeline takes no scheduler that does.
    """
    linear = settings["kind"] == "linear"
    scheduler = DDPMScheduler(
        num_train_timesteps=schedule.diffusion_steps,
        beta_start=settings["beta_start"],
        beta_end=settings["beta_end"],
        beta_schedule="linear" if linear else "squaredcos_cap_v2",
        variance_type="fixed_small",
        prediction_type="epsilon",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )
    ours = schedule.alpha_bar[1:].cpu()
    assert torch.allclose(scheduler.alphas_cumprod, ours, rtol=SCHEDULE_TOLERANCE, atol=1e-8)
    return scheduler


def schedule_settings(raw: object) -> dict[str, object]:
    """The arguments of the noise schedule in a configuration, defaults filled in."""
    parameters = signature(NoiseSchedule).parameters.values()
    settings = {parameter.name: parameter.default for parameter in parameters}
    name = f"{NoiseSchedule.__module__}.{NoiseSchedule.__name__}"
    for node in class_nodes(raw):
        if node["class_path"] == name:
            arguments = node.get("init_args")
            settings |= arguments if isinstance(arguments, Mapping) else {}
    return settings


def without_machine(raw: dict[str, object]) -> dict[str, object]:
    """The configuration with weights in the release's own folders, and no path of a machine."""
    config = json.loads(json.dumps(_portable(raw)))
    assert isinstance(config, dict)
    folders = {part.class_path: part.folder for part in HUB_PARTS}
    for node in class_nodes(config):
        arguments = node.get("init_args")
        if node["class_path"] in folders and isinstance(arguments, dict):
            arguments[PRETRAINED_KEY] = INSIDE + folders[str(node["class_path"])]
            if "subfolder" in arguments:
                arguments["subfolder"] = ""
    return config


def class_nodes(node: object) -> Iterable[dict[str, object]]:
    """All class_path nodes at and below `node`."""
    if isinstance(node, dict):
        if "class_path" in node:
            yield node
        for value in node.values():
            yield from class_nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from class_nodes(value)


def write_tensors(file: Path, state: Mapping[str, Tensor]) -> None:
    """A safetensors file of `state`, each tensor in plain layout and with memory of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in state.items():
        tensor = value.detach().cpu().contiguous()
        # The format knows no tied weights: each name gets its own copy.
        storage = tensor.untyped_storage()
        shared = storage.data_ptr() in seen or storage.nbytes() > tensor.nbytes
        plain[name] = tensor.clone() if shared else tensor
        seen.add(storage.data_ptr())
    save_file(plain, file, metadata={"format": "pt"})


def forget_names(folder: Path) -> None:
    """Takes the places that weights once came from out of the libraries' own JSON files."""
    for file in folder.rglob("*config.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.pop(NAME_KEY, None) is not None:
            file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _place(folder: Path, state_prefix: str, part: str, net: nn.Module) -> WeightFile:
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


def _shapes(net: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in net.state_dict().items()}


def _portable(value: object) -> object:
    """The value with each path that leads out of the working folder cut to its last name."""
    if isinstance(value, Mapping):
        return {key: _portable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(inner) for inner in value]
    if isinstance(value, str) and value.startswith(("/", "~", "../", "file:")):
        return PurePosixPath(value).name
    return value
