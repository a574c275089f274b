"""Weights from local files into a net; what a hub or a folder names is read in `hub.py`."""

import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; FileNotFoundError, or ValueError where it is none."""
    check_is_file(file)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"weights {file} cannot be read ({_first_line(error)}): expected a whole "
            ".safetensors file; get it again"
        ) from error


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """The tensors that torch.save wrote, the pickle never run.

    Raises FileNotFoundError, or ValueError where the file is damaged or holds other things.
    """
    check_is_file(file)
    try:
        # torch looks at no checksum, so that a flipped bit would pass as a weight.
        if zipfile.is_zipfile(file) and (broken := zipfile.ZipFile(file).testzip()):
            raise ValueError(f"{broken} is damaged")
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
    ) as error:
        raise ValueError(
            f"weights {file} cannot be read ({_first_line(error)}): expected a whole file of "
            "plain tensors by torch.save; get it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"weights {file} are no state dict: expected tensors by name")
    return state


def fill(net: nn.Module, state: dict[str, Tensor], file: Path) -> None:
    """Puts the weights, any float kind, into the net; ValueError where one is missing or extra."""
    floats = {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }
    try:
        keys = net.load_state_dict(floats, strict=False)
    except RuntimeError as error:
        raise ValueError(
            f"weights {file} do not fit: {str(error).splitlines()[-1].strip()}; "
            "expected the file of the model named"
        ) from error
    # A norm's count of batches plays no part in evaluation, and derived files leave it out.
    missing = [key for key in keys.missing_keys if not key.endswith("num_batches_tracked")]
    wrong = [*missing, *keys.unexpected_keys]
    if wrong:
        kind = "lack" if missing else "hold the unknown"
        raise ValueError(
            f"weights {file} {kind} {wrong[0]!r} ({len(wrong)} such): expected the state dict "
            "of the model named"
        )


def check_is_file(file: Path) -> None:
    """FileNotFoundError unless the weights are there."""
    if not file.is_file():
        raise FileNotFoundError(
            f"weights {file} are missing: expected a local file, since nothing is downloaded; "
            "get it and name its place"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
