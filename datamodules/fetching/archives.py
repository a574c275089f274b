"""Archives unpacked as if each were an attack: all members judged first, then written, or nothing.

Zip and tar (plain, gz, bz2, xz), read by `archive_members.py`; loading is `downloads.py`.
"""

import os
import shutil
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datamodules.fetching.archive_members import (
    DAMAGE,
    Member,
    UnsafeArchiveError,
    opened_archive,
    read_block,
)

BLOCK_BYTES = 2**20
LONGEST_PATH = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold: members, bytes in total, and bytes per byte of the archive.

    The ratio counts from `ratio_from_bytes` on: small files of zeros are no attack.
    """

    max_files: int = 300_000
    max_bytes: int = 64 * 2**30
    max_ratio: float = 100.0
    ratio_from_bytes: int = 64 * 2**20


DEFAULT_LIMITS = Limits()


def extract(archive: Path, folder: Path, *, limits: Limits = DEFAULT_LIMITS) -> int:
    """Unpack `archive` as the new folder `folder`; the number of files in it.

    Links, devices, names that lead outside, repeated names, encrypted members and whatever exceeds
    the limits refuse the whole archive. Modes are 0644 and 0755, whatever the archive says.
    Raises ValueError for such an archive and for a folder that holds something, OSError for a
    disk that is full or closed; nothing is left behind then.
    """
    archive = Path(archive)
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"cannot unpack {archive.name} as {folder}: something is there, and nothing is "
            "overwritten; move it away or choose another folder"
        )
    try:
        with opened_archive(archive) as members:
            budget = _budget(archive, limits)
            plan = _plan(members, limits=limits, budget_bytes=budget)
            return _write(plan, folder, budget_bytes=budget)
    except UnsafeArchiveError as error:
        raise ValueError(f"archive {archive} is not unpacked: {error}") from error
    except DAMAGE as error:
        raise ValueError(
            f"archive {archive} is damaged or of another kind ({type(error).__name__}: {error}): "
            "expected a whole zip, tar, tar.gz, tar.bz2 or tar.xz; load it again"
        ) from error


def _budget(archive: Path, limits: Limits) -> int:
    """How many bytes may come out of this archive."""
    by_ratio = max(limits.ratio_from_bytes, int(limits.max_ratio * archive.stat().st_size))
    return min(limits.max_bytes, by_ratio)


def _plan(
    members: Iterable[Member], *, limits: Limits, budget_bytes: int
) -> dict[tuple[str, ...], Member]:
    """Where each member goes below the folder; UnsafeArchiveError for the first bad one."""
    plan: dict[tuple[str, ...], Member] = {}
    spelled: dict[tuple[str, ...], tuple[str, ...]] = {}
    total_bytes = 0
    for count, member in enumerate(members, start=1):
        if count > limits.max_files:
            raise UnsafeArchiveError(f"it holds more than {limits.max_files} entries")
        if member.kind not in ("file", "folder"):
            raise UnsafeArchiveError(
                f"{member.name!r} is {member.kind}: expected only files and folders"
            )
        if member.size_bytes < 0:
            raise UnsafeArchiveError(f"{member.name!r} claims {member.size_bytes} bytes")
        total_bytes += member.size_bytes
        _check_total(total_bytes, budget_bytes)
        parts = _safe_parts(member.name)
        if not parts and member.kind == "folder":
            continue  # "./", the archive's own top
        if not parts or (parts in plan and "file" in (member.kind, plan[parts].kind)):
            raise UnsafeArchiveError(f"{member.name!r} is repeated or has no name")
        for depth in range(1, len(parts) + 1):
            key = tuple(_folded(part) for part in parts[:depth])
            if spelled.setdefault(key, parts[:depth]) != parts[:depth]:
                raise UnsafeArchiveError(
                    f"{member.name!r} and {'/'.join(spelled[key])!r} are one name on some disks"
                )
        plan[parts] = member
    _check_no_file_is_a_folder(plan)
    return plan


def _check_total(total_bytes: int, budget_bytes: int) -> None:
    if total_bytes > budget_bytes:
        raise UnsafeArchiveError(
            f"it unpacks to more than {budget_bytes} bytes, which its size does not explain "
            "or no limit allows"
        )


def _check_no_file_is_a_folder(plan: dict[tuple[str, ...], Member]) -> None:
    files = {parts for parts, member in plan.items() if member.kind == "file"}
    for parts in plan:
        for depth in range(1, len(parts)):
            if parts[:depth] in files:
                raise UnsafeArchiveError(f"{'/'.join(parts[:depth])!r} is a file and a folder")
    if not files:
        raise UnsafeArchiveError("it holds no files")


def _safe_parts(name: str) -> tuple[str, ...]:
    """The name's parts below the folder; UnsafeArchiveError for one that could lead elsewhere."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    odd = any(character in "\\:" or ord(character) < 32 for character in name)
    if name.startswith("/") or ".." in parts or odd or len(name) > LONGEST_PATH:
        raise UnsafeArchiveError(
            f"the name {name[:80]!r} is absolute, leads upwards, is too long, or holds a "
            "backslash, a colon or a control character"
        )
    return parts


def _folded(part: str) -> str:
    """The part as a disk sees it that ignores case, accents' composition and trailing dots."""
    return unicodedata.normalize("NFC", part).casefold().rstrip(". ")


def _write(plan: dict[tuple[str, ...], Member], folder: Path, *, budget_bytes: int) -> int:
    """Write all members into a folder beside, then rename it to `folder`."""
    made = [parent for parent in folder.parents if not parent.exists()]
    unfinished = folder.with_name(f".{folder.name}.unpacking.{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        _check_disk(sum(member.size_bytes for member in plan.values()), unfinished)
        written_bytes = 0
        for parts, member in plan.items():
            target = unfinished.joinpath(*parts)
            (target if member.kind == "folder" else target.parent).mkdir(
                parents=True, exist_ok=True
            )
            if member.kind == "file":
                written_bytes = _write_file(
                    member, target, before_bytes=written_bytes, budget_bytes=budget_bytes
                )
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        raise
    return sum(member.kind == "file" for member in plan.values())


def _check_disk(needed_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise OSError(
            f"cannot unpack into {folder.parent}: {needed_bytes} bytes needed, {free_bytes} free; "
            "make room or choose another folder"
        )


def _write_file(member: Member, target: Path, *, before_bytes: int, budget_bytes: int) -> int:
    """Copy one member; all bytes written so far, counted here because headers may lie."""
    stream = member.open()
    if stream is None:
        raise UnsafeArchiveError(f"{member.name!r} has no content")
    written_bytes = 0
    with stream, target.open("xb") as output:
        while block := read_block(stream, BLOCK_BYTES):
            written_bytes += len(block)
            _check_total(before_bytes + written_bytes, budget_bytes)
            output.write(block)
    if written_bytes != member.size_bytes:
        raise UnsafeArchiveError(
            f"{member.name!r} holds {written_bytes} bytes, its header says {member.size_bytes}"
        )
    return before_bytes + written_bytes
