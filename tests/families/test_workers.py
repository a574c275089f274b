"""Processes that read ahead: they fit, or it is one line; none is waited for in vain."""

import os
import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from datamodules import shared_memory
from datamodules.sample import Sample
from datamodules.sampler import Draw, ResumableLoader, ResumableSampler
from datamodules.shared_memory import AUTO, checked_workers
from experiments.cli import error_line, is_user_error
from experiments.doctor import examine_machine
from tests.families.degenerate_sets import Part
from tests.families.test_prepared_is_trainable import prepared, train_one_step

MIB = 2**20


@pytest.mark.parametrize(
    ("free_mib", "asked", "trainers", "given"),
    [
        (5, 2, 1, 2),
        (9, AUTO, 1, 4),
        (9, AUTO, 2, 1),
        (1, AUTO, 1, 0),
        (2**40, 64, 1, 64),
        (0, 0, 1, 0),
    ],
)
def test_as_many_processes_read_as_asked_and_as_fit_where_that_is_asked(
    free_mib: int, asked: int, trainers: int, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: free_mib * MIB)
    assert checked_workers(asked, MIB, trainers=trainers) == given


def test_too_little_shared_memory_is_one_line_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Training crops of 64 px would fit: what doesn't is the large image of the test.
    sizes = [("train", 40), ("val", 40), ("test", 400)]
    parts = [Part(("crack",), split=split, size_px=(side, side)) for split, side in sizes * 2]
    manifest = prepared(tmp_path, "csv", parts)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 4 * MIB)
    with pytest.raises(ValueError, match=r"needs 15 MiB .* 4 MiB free, enough for 0: .*shm-size"):
        train_one_step(2, manifest, "--data.init_args.num_workers=2")
    assert train_one_step(2, manifest, "--data.init_args.num_workers=-1")
    with pytest.raises(ValueError, match="num_workers is -2: expected 0 or more, or -1"):
        train_one_step(2, manifest, "--data.init_args.num_workers=-2")


class Files(Dataset[Sample]):
    """Samples of nothing; the fifth does what the kind says."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getitem__(self, draw: Draw) -> Sample:
        image, caption = torch.zeros(3, 4, 4), "a part"
        if draw.row == 5 and self.kind == "bus error":
            os.kill(os.getpid(), signal.SIGBUS)
        if draw.row == 5 and self.kind == "bad image":
            raise ValueError("image 5.png is truncated: expected a whole file")
        if draw.row == 5 and self.kind == "lost batch":
            caption = lambda: None  # type: ignore[assignment]  # noqa: E731  # can't be handed over
        return Sample(image, torch.zeros(4, 4).long(), True, caption, (), draw.row)


def loader(kind: str) -> ResumableLoader:
    order = ResumableSampler(np.arange(8), shuffle=False)
    return ResumableLoader(Files(kind), order, batch_size=1, num_workers=2)


def tell_fault(kind: str, listener: Connection) -> None:
    try:
        list(loader(kind))
    except (ValueError, RuntimeError) as error:
        listener.send((is_user_error(error), error_line(error)))


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("bus error", "a process that reads images ended (DataLoader worker (pid"),
        ("lost batch", "a process that reads images ended (DataLoader worker (pid"),
        ("bad image", "image 5.png is truncated: expected a whole file"),
    ],
)
def test_what_a_process_meets_ends_in_one_line_and_nobody_waits(kind: str, line: str) -> None:
    # In a process of its own: PyTorch tells of a dead reader by a signal, at any later time.
    ours, theirs = get_context("fork").Pipe()
    reading = get_context("fork").Process(target=tell_fault, args=(kind, theirs))
    reading.start()
    assert ours.poll(60), "somebody waits for a reader that is gone"
    is_users, said = ours.recv()
    reading.join()
    assert is_users and said.startswith(line) and "Traceback" not in said


def test_what_stops_the_group_of_a_run_leaves_its_readers_alone() -> None:
    batches = iter(reading := loader("whole"))
    next(batches), next(batches)  # one of each process, which then runs
    workers = reading._iterator._workers  # type: ignore[union-attr]
    assert all(os.getpgid(worker.pid) == worker.pid for worker in workers)
    assert [int(batch.row) for batch in batches] == [*range(2, 8)]


def test_doctor_says_where_shared_memory_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.doctor.free_bytes", lambda: 64 * MIB)
    (found,) = (one for one in examine_machine() if one.part == "shared memory")
    assert (found.found, found.verdict) == ("0.0625 GiB free", "optional")
    assert "--shm-size" in found.remedy
