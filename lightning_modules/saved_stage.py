"""What a checkpoint says of itself; reading one is safe and fails with one clear line."""

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

STAMP = "diffuse_defect"


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


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that `path` names: a file, or a run directory's last one."""
    if path.is_file():
        return path
    for candidate in (path / "checkpoints" / "last.ckpt", path / "last.ckpt"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"no checkpoint at {path}: expected a .ckpt file or a run directory with "
        "checkpoints/last.ckpt; name the directory that a run printed at its end"
    )


def read_stage(path: Path) -> SavedStage:
    """The stage saved in a checkpoint file or run directory, loaded without running its pickle.

    Raises FileNotFoundError or ValueError when it is missing, truncated, or not one of ours.
    """
    file = find_checkpoint(path)
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"checkpoint {file} cannot be read ({first_line(error)}): expected a "
            "complete file with plain weights; use another checkpoint of the run"
        ) from error
    mark = saved.get(STAMP) if isinstance(saved, dict) else None
    if (
        not isinstance(mark, dict)
        or {"stage", "vocabulary"} - mark.keys()
        or "state_dict" not in saved
    ):
        raise ValueError(
            f"checkpoint {file} is not from this project: expected one that "
            "`python -m experiments.run` has written"
        )
    entries = tuple(tuple(entry) for entry in mark["vocabulary"])
    side = int(mark.get("image_size_px", 0))
    return SavedStage(mark["stage"], saved["state_dict"], entries, file, side)


def first_line(error: Exception) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0][:120]


def stamp(
    stage: str, entries: tuple[tuple[str, ...], ...], *, image_size_px: int = 0
) -> dict[str, object]:
    """The mark that `read_stage` looks for, in plain types."""
    words = [list(entry) for entry in entries]
    return {"stage": stage, "vocabulary": words, "image_size_px": image_size_px}


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
