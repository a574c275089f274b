"""What a checkpoint or a release says of itself and holds; a foreign one is one clear line.

How their files are opened without running anything in them is in `safe_files.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_modules.safe_files import (
    check_manifest,
    files_in,
    read_checkpoint,
    read_tensors,
    sha256_of,
)

STAMP = "diffuse_defect"
RELEASE_NAME = "release.json"
WEIGHTS_KEY = "weights"
RANDOM = "random"  # in the place of a stage 1's name: features of an untrained U-Net


@dataclass(slots=True)
class SavedStage:
    """stage: `pretrain`, `mask` or a baseline's name; state: tensors by name (EMA weights where
    the run kept them); entries: the vocabulary, one tuple of words per class; image_size_px: the
    side of the pictures that stage 1 saw, 0 where nobody said.
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
    if path.is_file():
        return path
    for candidate in (path / "checkpoints" / "last.ckpt", path / "last.ckpt", path / RELEASE_NAME):
        if candidate.is_file():
            return candidate
    stages = [name for name in ("pretrain", "finetune") if (path / name).is_dir()]
    if stages:
        raise FileNotFoundError(
            f"no checkpoint at {path}: it is a run of two stages, expected one; name "
            + " or ".join(str(path / name) for name in stages)
        )
    raise FileNotFoundError(
        f"no checkpoint at {path}: expected a .ckpt file, a run directory with "
        "checkpoints/last.ckpt or a release's folder; name the directory that a run printed at "
        "its end"
    )


def read_stage(path: Path) -> SavedStage:
    """The stage saved in a checkpoint file, run directory or release, its pickle never run.

    Raises FileNotFoundError or ValueError when it is missing, damaged, or not one of ours.
    """
    file = find_checkpoint(path)
    if file.name == RELEASE_NAME:
        return _read_release(file)
    saved = read_checkpoint(file)
    state = saved.get("state_dict") if isinstance(saved, dict) else None
    stage = _stage_of(saved, state)
    if stage is None:
        raise ValueError(
            f"checkpoint {file} is not from this project: expected one that "
            "`python -m experiments.run` has written"
        )
    stage.file = file
    return stage


def stamp(
    stage: str, entries: tuple[tuple[str, ...], ...], *, image_size_px: int = 0
) -> dict[str, object]:
    """The mark that `read_stage` looks for, in plain types."""
    words = [list(entry) for entry in entries]
    return {"stage": stage, "vocabulary": words, "image_size_px": image_size_px}


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
    text = json.dumps({STAMP: mark, WEIGHTS_KEY: places}, indent=2, ensure_ascii=False)
    (folder / RELEASE_NAME).write_text(text + "\n", encoding="utf-8")


def load_part(part: nn.Module, prefix: str, saved: SavedStage) -> None:
    """Fills `part` with the tensors saved under `prefix`; ValueError when they do not fit."""
    state = {
        key.removeprefix(prefix): value
        for key, value in saved.state.items()
        if key.startswith(prefix)
    }
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the weights in {saved.file} do not fit this config ({reason}): expected the same "
            "model settings as in the config.yaml beside them; copy them from there"
        ) from error


def _read_release(file: Path) -> SavedStage:
    """The stage of a release, after each of its files was found unchanged."""
    folder = file.parent
    check_manifest(folder)
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
        places = [
            WeightFile(prefix, place["file"], place["prefix"])
            for prefix, place in index[WEIGHTS_KEY].items()
        ]
        # Whatever else it names, such as a path out of the folder, was not checked.
        if foreign := {place.file for place in places} - files_in(folder):
            raise ValueError(f"{min(foreign)!r} is none of its files")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} is broken ({error}): expected the index that `python -m experiments.export` "
            "writes; get the release again"
        ) from error
    state: dict[str, Tensor] = {}
    for place in places:
        for name, value in read_tensors(folder / place.file).items():
            state[place.state_prefix + name.removeprefix(place.file_prefix)] = value
    stage = _stage_of(index, state)
    if stage is None:
        raise ValueError(
            f"{file} is not from this project: expected the index that "
            "`python -m experiments.export` writes; get the release again"
        )
    stage.file = file
    return stage


def _stage_of(saved: object, state: object) -> SavedStage | None:
    """The stage that a mark and weights make, None where they are not ours."""
    mark = saved.get(STAMP) if isinstance(saved, Mapping) else None
    if not isinstance(mark, Mapping) or not isinstance(state, Mapping):
        return None
    stage, vocabulary, side = (mark.get(key) for key in ("stage", "vocabulary", "image_size_px"))
    if not isinstance(stage, str) or not isinstance(vocabulary, list | tuple):
        return None
    entries = tuple(tuple(words) for words in vocabulary if isinstance(words, list | tuple))
    words_are_text = all(isinstance(word, str) for entry in entries for word in entry)
    weights = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    names_are_text = all(isinstance(name, str) for name in weights)
    if len(entries) < len(vocabulary) or not words_are_text or not names_are_text:
        return None
    return SavedStage(stage, weights, entries, Path(), side if isinstance(side, int) else 0)


def read_pretrained(name: str) -> SavedStage:
    """Stage 1 as saved in the run directory or checkpoint `name`, of a two-stage run too.

    Raises FileNotFoundError or ValueError when it is missing, broken, or another stage.
    """
    path = Path(name)
    saved = read_stage(path / "pretrain" if (path / "pretrain").is_dir() else path)
    if saved.stage != "pretrain":
        raise ValueError(
            f"pretrained is {name}, which holds stage {saved.stage!r}: expected the run directory "
            f"of a stage 1, or the word {RANDOM!r} for an untrained U-Net"
        )
    return saved
