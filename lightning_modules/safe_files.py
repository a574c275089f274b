"""Files of weights, opened without running anything in them; each fault is one clear line.

What the weights are of is told in `saved_stage.py`.
"""

import hashlib
import pickle
import re
import zipfile
from pathlib import Path, PurePosixPath

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

MANIFEST_NAME = "manifest.sha256"
MANIFEST_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
CHUNK_BYTES = 2**24
SHOWN_CHARACTERS = 120
# What torch's safe unpickler raised for files with changed bytes, in 12,000 trials, and its kin.
UNREADABLE = (
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
)


def read_checkpoint(file: Path) -> object:
    """What a checkpoint file holds: tensors and plain values, its pickle never run.

    Raises ValueError where it is damaged, a trap, or unlike what torch.save writes.
    """
    try:
        check_archive(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(
            f"checkpoint {file} cannot be read ({first_line(error)}): expected a "
            "complete file with plain weights; use another checkpoint of the run"
        ) from error


def check_archive(file: Path) -> None:
    """ValueError or BadZipFile unless `file` is whole and no larger unpacked than it lies there.

    torch itself looks at no checksum, so that a flipped bit would pass as a weight. The hash in
    `<file>.sha256` decides where a run wrote one, the archive's own sums where not.
    """
    expected = written_hash(file)
    if expected is not None and sha256_of(file) != expected:
        raise ValueError(f"damaged: it is not the file whose hash is in {file.name}.sha256")
    with zipfile.ZipFile(file) as archive:
        packed = [item for item in archive.infolist() if item.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"{packed[0].filename!r} in it is compressed, as no checkpoint's is")
        damaged = archive.testzip() if expected is None else None
    if damaged is not None:
        raise ValueError(f"damaged: {damaged!r} in it is not what was written")


def written_hash(file: Path) -> str | None:
    """The hash beside a checkpoint, None where there is none; ValueError where it is no hash."""
    beside = file.with_name(f"{file.name}.sha256")
    if not beside.is_file():
        return None
    found = MANIFEST_LINE.fullmatch(beside.read_text(encoding="utf-8", errors="replace").strip())
    if found is None:
        raise ValueError(f"{beside.name} holds no hash of it")
    return found[1]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; ValueError where it is none."""
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise ValueError(
            f"weights {file} cannot be read ({first_line(error)}): expected a whole safetensors "
            "file; get the release again"
        ) from error


def write_manifest(folder: Path) -> None:
    """manifest.sha256 of all files in `folder`, for `sha256sum -c` and `check_manifest`."""
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in sorted(files_in(folder))]
    (folder / MANIFEST_NAME).write_text("".join(lines), encoding="utf-8")


def check_manifest(folder: Path) -> None:
    """ValueError unless the files in `folder` are those of its manifest.sha256, unchanged.

    It proves that nothing is damaged, not who wrote it: the manifest itself can be replaced.
    """
    expected = read_manifest(folder / MANIFEST_NAME)
    found = files_in(folder)
    fault = ""
    if missing := sorted(expected.keys() - found):
        fault = f"{missing[0]} is missing"
    elif extra := sorted(found - expected.keys()):
        fault = f"{extra[0]} is not one of its files"
    else:
        changed = [name for name in sorted(expected) if sha256_of(folder / name) != expected[name]]
        fault = f"{changed[0]} has changed" if changed else ""
    if fault:
        raise ValueError(
            f"release {folder}: {fault}; expected the files of {MANIFEST_NAME} and no others: "
            "get the release again"
        )


def read_manifest(file: Path) -> dict[str, str]:
    """Hash by file name; FileNotFoundError without a manifest, ValueError where it is broken."""
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing: expected the hashes of the release's files; get it again"
        )
    hashes: dict[str, str] = {}
    for line in file.read_bytes().decode("utf-8", errors="replace").splitlines():
        found = MANIFEST_LINE.fullmatch(line)
        path = PurePosixPath(found[2]) if found else PurePosixPath("/")
        if found is None or path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"{file} is broken at {line[:40]!r}: expected lines of sha256sum about files "
                "beside it; get the release again"
            )
        hashes[path.as_posix()] = found[1]
    return hashes


def files_in(folder: Path) -> set[str]:
    """The files of a release by relative name, without its manifest.

    Hidden ones at the top are left out: version control and downloaders keep theirs there, and
    nothing opens them.
    """
    names = {path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()}
    return {
        name.as_posix()
        for name in names
        if not name.parts[0].startswith(".") and name.as_posix() != MANIFEST_NAME
    }


def sha256_of(file: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:SHOWN_CHARACTERS]
