"""Claims about the benchmarks' command: what it finds, prints, writes and refuses; never speed."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from experiments import bench
from experiments.benchmarks.image_chain import find_pictures
from experiments.measuring.measurements import (
    NOTE,
    BenchSettings,
    Measurement,
    throughput,
    time_alternately,
)

ROW = Measurement("a", ours=6.0, reference=2.0, unit="images/s", ratio=3.0, limit=5.0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a grey picture and, deeper, a coloured one."""
    (tmp_path / "raw/deep").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise[:, :, 0]).save(tmp_path / "raw/grey.JPG")
    Image.fromarray(noise).save(tmp_path / "raw/deep/colour.png")
    (tmp_path / "raw/notes.txt").write_text("no picture")
    return tmp_path / "raw"


@pytest.fixture
def one_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single benchmark that measures nothing."""
    room = SimpleNamespace(__name__="one", VERB="data", measure=lambda settings: [ROW])
    monkeypatch.setattr(bench, "_all_rooms", lambda: [room])


def test_every_benchmark_has_a_verb_and_a_measure() -> None:
    rooms = [room for verb in bench.verbs() for room in bench.rooms(verb)]
    names = {room.__name__.rpartition(".")[2] for room in rooms}
    folder = Path(bench.experiments.benchmarks.__path__[0])
    assert names == {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert all(callable(room.measure) for room in rooms)


def test_image_chain_measures_the_pictures_of_a_folder(pictures: Path) -> None:
    chain = next(room for room in bench.rooms("data") if room.__name__.endswith("image_chain"))
    rows = chain.measure(BenchSettings(images=pictures, image_size_px=32, repeats=3))
    assert all(row.ours > 0 and row.reference > 0 and row.ratio > 0 for row in rows)
    assert all(row.settings["count"] == 2 and row.settings["grey"] == 1 for row in rows)
    assert rows[0].settings["px"] == "50-50 to 32"


def test_image_chain_leaves_no_trace_in_the_process(pictures: Path) -> None:
    chain = next(room for room in bench.rooms("data") if room.__name__.endswith("image_chain"))
    before = torch.get_rng_state(), cv2.getNumThreads(), torch.get_num_threads()
    chain.measure(BenchSettings(images=pictures, image_size_px=16, repeats=3))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (cv2.getNumThreads(), torch.get_num_threads()) == before[1:]


@pytest.mark.usefixtures("one_room")
def test_table_and_json_hold_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["data", "--out", str(tmp_path / "bench.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3.0" in printed and "the machine was shared" in printed
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["note"] == NOTE
    assert written["measurements"][0]["ratio"] == 3.0
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_name_of_a_benchmark_runs_it_alone() -> None:
    assert [room.__name__.rpartition(".")[2] for room in bench.rooms("resume")] == ["resume"]


@pytest.mark.usefixtures("one_room")
@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["dta"], "bench has no 'dta'; did you mean data"),
        (["data", "--repeats", "1"], "--repeats is 1: expected 3 or more"),
        (["data", "--image_size_px", "0"], "--image_size_px is 0: expected 1 or more"),
        (["data", "--out", "missing/folder/bench.json"], "the folder of missing/folder/bench.json"),
    ],
)
def test_wrong_argument_is_one_line(argv: list[str], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        bench.main(argv)


def test_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"--images: no picture .* is under {tmp_path}"):
        find_pictures(tmp_path)


def test_pictures_are_drawn_evenly_over_a_large_folder(tmp_path: Path) -> None:
    for index in range(200):
        (tmp_path / f"{index:03}.png").touch()
    drawn = [int(path.stem) for path in find_pictures(tmp_path)]
    assert (len(drawn), drawn[0], drawn[-1]) == (48, 0, 199)
    assert set(np.diff(drawn)) <= {4, 5}


def test_both_sides_take_turns() -> None:
    calls: list[str] = []
    times = time_alternately(lambda: calls.append("a"), lambda: calls.append("b"), repeats=3)
    assert "".join(calls) == "abababab"
    assert [len(seconds) for seconds in times] == [3, 3]


def test_ratio_is_ours_over_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    times = ([1.0, 2.0, 9.0], [8.0, 8.0, 8.0])
    monkeypatch.setattr(
        "experiments.measuring.measurements.time_alternately", lambda *a, **k: times
    )
    row = throughput("a", list, list, count=16, unit="images/s", repeats=3)
    assert (row.ours, row.reference, row.ratio) == (8.0, 2.0, 4.0)
