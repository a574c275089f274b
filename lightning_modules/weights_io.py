"""Weights from checkpoints, releases, local files and the hub, and the mark that a stage leaves.

No pickle is ever run. What is missing, damaged or foreign is one line: FileNotFoundError or
ValueError. Which configuration the weights belong to is known in `experiments/checkpoints.py`.
"""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

STAMP = "diffuse_defect"
RANDOM = "random"  # in the place of a stage 1's name: features of an untrained U-Net
RELEASE_NAME = "release.json"
MANIFEST_NAME = "manifest.sha256"
# What torch's safe unpickler raised for files with changed bytes, in 12,000 trials, and its kin.
UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError),
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(ArithmeticError, MemoryError),
)
Net = TypeVar("Net", bound=nn.Module)


@dataclass(slots=True)
class SavedStage:
    """stage: `pretrain`, `mask` or a baseline's name; state: tensors by name (EMA weights where
    the run kept them); entries: the vocabulary, one tuple of words per class; image_size_px: the
    side of the images that stage 1 saw, 0 where it is not known.
    """

    stage: str
    state: dict[str, Tensor]
    entries: tuple[tuple[str, ...], ...]
    file: Path
    image_size_px: int = 0


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Where a release keeps the weights whose names start with `state_prefix`.

    file: relative to the release; file_prefix: what stands there in the state_prefix's place.
    """

    state_prefix: str
    file: str
    file_prefix: str = ""


def find_checkpoint(path: Path) -> Path:
    """The file that `path` names: itself, a run directory's last checkpoint, a release's index."""
    for file in places_of_checkpoint(path):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"no checkpoint at {path}: expected a .ckpt file, a run directory with "
        "checkpoints/last.ckpt or a release's folder; name the directory that a run printed at "
        "its end"
    )


def places_of_checkpoint(path: Path) -> tuple[Path, ...]:
    """Where the file may lie that `path` names."""
    return path, path / "checkpoints" / "last.ckpt", path / "last.ckpt", path / RELEASE_NAME


def is_checkpoint(path: Path) -> bool:
    """Whether `path` names one of ours."""
    return any(file.is_file() for file in places_of_checkpoint(path))


def read_stage(path: Path) -> SavedStage:
    """The stage saved in a checkpoint file, run directory or release."""
    file = find_checkpoint(path)
    if file.name == RELEASE_NAME:
        return _read_release(file)
    saved = read_checkpoint(file)
    state = saved.get("state_dict") if isinstance(saved, dict) else None
    return _stage_of(saved, state, file)


def read_pretrained(name: str) -> SavedStage:
    """Stage 1 as saved in the run directory or checkpoint `name`."""
    saved = read_stage(Path(name))
    if saved.stage != "pretrain":
        raise ValueError(
            f"pretrained is {name}, which holds stage {saved.stage!r}: expected the run directory "
            f"of a stage 1, or the word {RANDOM!r} for an untrained U-Net"
        )
    return saved


def stamp(
    stage: str, entries: tuple[tuple[str, ...], ...], *, image_size_px: int = 0
) -> dict[str, object]:
    """The mark that `read_stage` looks for, in plain types."""
    words = [list(entry) for entry in entries]
    return {"stage": stage, "vocabulary": words, "image_size_px": image_size_px}


def _stage_of(saved: object, state: object, file: Path) -> SavedStage:
    """The stage that a mark and weights make; ValueError where they are not ours."""
    try:
        mark = saved[STAMP]  # type: ignore[index]
        lists = mark["vocabulary"]
        words = [mark["stage"], *(word for entry in lists for word in entry)]
        weights = {n: value for n, value in state.items() if isinstance(value, Tensor)}  # type: ignore[attr-defined]
        are_lists = all(isinstance(entry, list | tuple) for entry in lists)
        if not are_lists or not all(isinstance(word, str) for word in words):
            raise TypeError("a name is no text")
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"checkpoint {file} is not from this project: expected one that `python -m "
            "experiments.run` or `experiments.export` wrote"
        ) from error
    entries, side = tuple(map(tuple, lists)), mark.get("image_size_px")
    return SavedStage(mark["stage"], weights, entries, file, side if isinstance(side, int) else 0)


def read_checkpoint(file: Path) -> object:
    """What a file by torch.save holds: tensors, mapped from the disk, and plain values."""
    check_is_file(file)
    try:
        check_archive(file)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE as error:
        raise ValueError(
            f"checkpoint {file} cannot be read ({first_line(error)}): expected a complete file "
            "with plain tensors by torch.save; use another checkpoint of the run, or get it again"
        ) from error


def check_archive(file: Path) -> None:
    """ValueError or BadZipFile unless `file` is whole and no larger unpacked than it lies there.

    torch itself looks at no checksum, so that a flipped bit would pass as a weight.
    """
    with zipfile.ZipFile(file) as archive:
        packed = [item for item in archive.infolist() if item.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"{packed[0].filename!r} in it is compressed, as no checkpoint's is")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"damaged: {damaged!r} in it is not what was written")


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """The tensors by name that torch.save wrote; ValueError where the file holds other things."""
    state = read_checkpoint(file)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"weights {file} are no state dict: expected tensors by name")
    return state


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name."""
    check_is_file(file)
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise ValueError(
            f"weights {file} cannot be read ({first_line(error)}): expected a whole "
            ".safetensors file; get it again"
        ) from error


def check_is_file(file: Path) -> None:
    """FileNotFoundError unless the weights are there."""
    if not file.is_file():
        raise FileNotFoundError(
            f"weights {file} are missing: expected a local file, since nothing is downloaded; "
            "get it and name its place"
        )


def load_part(part: nn.Module, prefix: str, saved: SavedStage) -> None:
    """Fills `part` with the tensors saved under `prefix`; ValueError when they do not fit."""
    state = {
        name.removeprefix(prefix): value
        for name, value in saved.state.items()
        if name.startswith(prefix)
    }
    remedy = "the same model settings as in the config.yaml beside them; copy them from there"
    fill(part, state, saved.file, expected=remedy)


def fill(
    net: nn.Module,
    state: Mapping[str, Tensor],
    file: Path,
    *,
    expected: str = "the state dict of the model named",
) -> None:
    """Puts the weights, any float kind, into the net; ValueError where one is missing or extra."""
    try:
        keys = net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"weights in {file} do not fit ({reason}): expected {expected}") from error
    # A norm's count of batches plays no part in evaluation, and derived files leave it out.
    missing = [key for key in keys.missing_keys if not key.endswith("num_batches_tracked")]
    wrong = [*missing, *keys.unexpected_keys]
    if wrong:
        kind = "lack" if missing else "hold the unknown"
        raise ValueError(
            f"weights in {file} do not fit: they {kind} {wrong[0]!r} ({len(wrong)} such); "
            f"expected {expected}"
        )


def load_from_hub(hub_class: type[Net], name: str, subfolder: str, *, like: Net) -> Net:
    """The net `name` (a hub name or a folder) with weights, checked against the shape of `like`.

    Raises ValueError when the weights cannot be found, are not all there, or have other shapes
    than the config says.
    """
    transformers_logging.disable_progress_bar()  # for a second of work
    try:
        read = hub_class.from_pretrained  # type: ignore[attr-defined]
        net, report = read(name, subfolder=subfolder, output_loading_info=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"weights {name!r} could not be read ({first_line(error)}): expected a local folder or "
            "a reachable hub name; download them once on a machine with a network and name the "
            "folder"
        ) from error
    if missing := sorted(report["missing_keys"]):
        # The library fills these with random numbers and goes on.
        raise ValueError(
            f"weights {name!r} lack {len(missing)} tensors of the net, first {missing[0]!r}: "
            "expected those of the whole net; name another folder or hub name"
        )
    expected = {key: tuple(value.shape) for key, value in like.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    different = sorted(set(expected.items()) ^ set(got.items()))
    if different:
        raise ValueError(
            f"weights {name!r} do not fit the configured net, first at {different[0][0]!r}: "
            "set the config's widths to those of the weights"
        )
    # The library keeps the numbers of the file, and 16 bits beside 32 would end in an error.
    return net.to(next(like.parameters()).dtype).requires_grad_(False)


def write_release_index(folder: Path, saved: SavedStage, weights: list[WeightFile]) -> None:
    """release.json in a release's folder: the mark, and which file holds which weights.

    With their hashes, so that the hash of this one file tells two releases apart.
    """
    mark = stamp(saved.stage, saved.entries, image_size_px=saved.image_size_px)
    places = {
        place.state_prefix: {
            "file": place.file,
            "prefix": place.file_prefix,
            "sha256": sha256_of(folder / place.file),
        }
        for place in weights
    }
    text = json.dumps({STAMP: mark, "weights": places}, indent=2, ensure_ascii=False)
    (folder / RELEASE_NAME).write_text(text + "\n", encoding="utf-8")


def _read_release(file: Path) -> SavedStage:
    """The stage of a release, after each of its files was found unchanged."""
    folder = file.parent
    check_manifest(folder)
    state: dict[str, Tensor] = {}
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
        places = [(prefix, one["file"], one["prefix"]) for prefix, one in index["weights"].items()]
        # Whatever else it names, such as a path out of the folder, was not checked.
        if foreign := {name for _, name, _ in places} - files_in(folder):
            raise ValueError(f"{min(foreign)!r} is none of its files")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} is broken ({error}): expected the index that `python -m experiments.export` "
            "writes; get the release again"
        ) from error
    for state_prefix, name, file_prefix in places:
        for key, value in read_tensors(folder / name).items():
            state[state_prefix + key.removeprefix(file_prefix)] = value
    return _stage_of(index, state, file)


def write_manifest(folder: Path) -> None:
    """manifest.sha256 of all files in `folder`, for `sha256sum -c` and `check_manifest`."""
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in sorted(files_in(folder))]
    (folder / MANIFEST_NAME).write_text("".join(lines), encoding="utf-8")


def check_manifest(folder: Path) -> None:
    """ValueError unless the files in `folder` are those of its manifest.sha256, unchanged.

    It proves that nothing is damaged, not who wrote it: the manifest itself can be replaced.
    """
    check_is_file(folder / MANIFEST_NAME)
    text = (folder / MANIFEST_NAME).read_bytes().decode("utf-8", errors="replace")
    expected = {tuple(line.split("  ", maxsplit=1)) for line in text.splitlines()}
    found = {(sha256_of(folder / name), name) for name in files_in(folder)}
    if faults := sorted(line[-1] for line in expected ^ found):
        raise ValueError(
            f"release {folder}: {faults[0][:80]!r} is missing, new or has changed; expected the "
            f"files of {MANIFEST_NAME} and no others: get the release again"
        )


def files_in(folder: Path) -> set[str]:
    """The files of a release by relative name, without its manifest.

    Hidden ones at the top are left out: version control and downloaders keep theirs there, and
    nothing opens them.
    """
    paths = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    names = {path.as_posix() for path in paths if not path.parts[0].startswith(".")}
    return names - {MANIFEST_NAME}


def sha256_of(file: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def first_line(error: Exception) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
