"""A tracker that is down costs no step and no metric, and a signal costs no more than its step."""

import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from lightning import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from datamodules.captions import Caption
from datamodules.preparing import inspection
from datamodules.sample import Record
from experiments import cli
from experiments.reporting.plan import Child
from experiments.reporting.runs import run_children, run_process
from experiments.run_logger import RunLogger
from experiments.tracking import TrackerError, initialise_tracking, read_runs

ROOT = Path(__file__).parents[2]
STEPS = 5
SOON_S = 6.0  # a step that waited for its tracker, or a run for its end, would take 10
# What a server that is no healthy MLflow answers to everything.
ANSWERS = {
    "500": (500, b"oops"),
    "a login page": (200, b"<html>who are you?</html>"),
    "nothing": (200, b"{}"),
    "400": (400, b""),
    "401": (401, b""),
    "404": (404, b"not here"),
    "503": (503, b"later"),
}
SERVERS = ["refused", "silent", *ANSWERS]


def serve(kind: str) -> tuple[str, Callable[[], None]]:
    """The address of a tracker that is down in this way, and what ends it."""
    if kind in ("silent", "refused"):
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if kind == "refused":
            listener.close()
        return address, listener.close

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, body = ANSWERS[kind]
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PATCH = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}", server.shutdown


@pytest.fixture(params=SERVERS)
def sick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tracker that is down, named in the environment."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address, end = serve(request.param)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    yield address
    end()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh tracking database: making one takes seconds, a copy none."""
    folder = tmp_path_factory.mktemp("mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        initialise_tracking(folder)
    return folder / "mlflow.db"


def opened(output: Path) -> RunLogger:
    return RunLogger(output, "e", "one", {}, directory=output / "runs" / "one")


def train(tracked: RunLogger, first: int = 0) -> float:
    """The steps, each logged; the seconds that they took."""
    begin = time.monotonic()
    trainer = Trainer(
        logger=tracked, max_steps=STEPS, log_every_n_steps=1, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu",
    )  # fmt: skip
    trainer.fit(BoringModel())
    assert trainer.global_step == STEPS
    for step in range(STEPS):
        tracked.log_metrics({"loss": 1.0 + first + step}, step=first + step)
    return time.monotonic() - begin


def check_delivered(output: Path, count: int) -> None:
    """The tracker has what every step logged, and nothing waits."""
    tracked = opened(output)
    tracked.close()
    (row,) = read_runs(output, "e")
    assert (row.status, row.metrics["loss"]) == ("FINISHED", float(count))
    assert not tracked.spool_path.exists()


def test_run_trains_on_with_a_sick_tracker_and_a_healthy_one_gets_all(
    sick: str, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialise_tracking(tmp_path)
    tracked = opened(tmp_path)
    seconds = train(tracked)
    begin = time.monotonic()
    tracked.close()
    assert seconds < SOON_S and time.monotonic() - begin < SOON_S
    lines = tracked.spool_path.read_text().splitlines()
    assert sum('"loss"' in line for line in lines) == STEPS
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    shutil.copy(database, tmp_path)
    check_delivered(tmp_path, STEPS)


def test_who_reads_a_sick_tracker_is_told_in_seconds(sick: str, tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(ValueError, match=r"tracker .* (can't be reached|answered)|none is known"):
        read_runs(tmp_path, "e")
    assert time.monotonic() - begin < SOON_S


@pytest.mark.parametrize("harm", ["locked", "read-only", "no database", "no folder"])
def test_run_trains_on_with_a_harmed_database_and_the_mended_one_gets_all(
    harm: str, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow makes folders of what it reads in a URI
    output = tmp_path / harm  # a path of its own: MLflow keeps what it has opened
    output.mkdir()
    shutil.copy(database, output)
    file = output / "mlflow.db"
    holder = sqlite3.connect(file, isolation_level=None)
    uris = {
        "locked": f"sqlite:///{file}?timeout=0.1",
        "read-only": f"sqlite:///file:{file}?mode=ro&uri=true",
        "no database": f"sqlite:///{file}",
        "no folder": "sqlite:////dev/null/mlflow.db",
    }
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uris[harm])
    if harm == "locked":
        holder.execute("begin exclusive")
    elif harm == "no database":
        file.write_bytes(b"no database" * 1000)
    if harm != "read-only":
        with pytest.raises(TrackerError):
            initialise_tracking(output)
    tracked = opened(output)
    assert train(tracked) < SOON_S
    tracked.close()
    assert tracked.spool_path.exists()
    holder.close()
    shutil.copy(database, output)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    check_delivered(output, STEPS)


def test_tracker_that_hangs_in_the_middle_and_comes_back_gets_all_in_the_same_run(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(database, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db?timeout=0.1")
    tracked = opened(tmp_path)
    train(tracked)
    assert tracked.flush()
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as holder:
        holder.execute("begin exclusive")
        assert train(tracked, first=STEPS) < SOON_S
        assert not tracked.flush(1.0)
    assert tracked.flush() and not tracked.spool_path.exists()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    check_delivered(tmp_path, 2 * STEPS)


def test_prepare_that_is_interrupted_says_what_is_kept_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def inspect(record: Record, root: Path) -> inspection.Inspection:
        seen.append(record.image)
        time.sleep(0.002)
        if len(seen) == 100:
            raise KeyboardInterrupt
        return inspection.Inspection(record, problem="none")

    monkeypatch.setattr(inspection, "inspect", inspect)
    record = Record("", "", (), (), Caption("tile"), group="", source="one")
    records = [replace(record, image=f"{number}.png") for number in range(1000)]
    with pytest.raises(KeyboardInterrupt, match="64 of 1000 images are inspected and kept"):
        inspection.inspect_all(records, tmp_path, kept_in=tmp_path / "kept", workers=1)
    assert len(seen) < 300
    inspection.inspect_all(records, tmp_path, kept_in=tmp_path / "kept", workers=1)
    assert seen.count("0.png") == 1 and set(seen) == {record.image for record in records}


@pytest.mark.parametrize("wraps", [False, True], ids=["plain", "as Lightning hands it on"])
def test_interrupted_command_ends_with_130_says_what_is_kept_and_leaves_nothing_half(
    wraps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        with cli.whole_folder(tmp_path / "out", entries=(), overwrite=False) as folder:
            (folder / "half.txt").touch()
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt:
                if wraps:
                    sys.exit(1)
                raise

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        cli.run_command(command)
    assert ended.value.code == 130 and not list(tmp_path.iterdir())
    said = capsys.readouterr().err
    assert said == f"interrupted: nothing is written to {tmp_path / 'out'}\n"


def test_study_that_is_interrupted_tells_its_children_to_stop(tmp_path: Path) -> None:
    def run(child: Child) -> str:
        words = ["-c", "import time; time.sleep(60)"]
        return run_process(words, tmp_path / "log", threads=0, held=sys.stderr.fileno())

    begin = time.monotonic()
    # To this process alone, not to the group, as a terminal would.
    threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        run_children([Child("a", "a", 0, ())], set(), run, jobs=1)
    assert time.monotonic() - begin < 30  # of the child's 60


# What stands for python in the Makefile: it notes its words, and ends as told in the stage.
PYTHON = """#!/bin/bash
echo "$*" >> said.txt
case "$*" in *"$STOPPED"*) mkdir -p mlruns/runs/$STOPPED-2; exit $CODE;; esac
case "$*" in *quickstart_stage?.yaml) name=${4%.yaml};; *stage2*) name=quickstart_stage2;; esac
mkdir -p mlruns/runs/$name-2; touch mlruns/runs/$name-2/results.json
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize("code", [0, 2, 130, 143])
@pytest.mark.parametrize("stopped", ["quickstart_stage1", "quickstart_stage2", "nothing"])
def test_quickstart_stops_at_a_stopped_stage(stopped: str, code: int, tmp_path: Path) -> None:
    for name in ("requirements.lock", "pyproject.toml", "installed"):
        (tmp_path / name).touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    # An earlier quickstart was finished, which must not be taken for this one's.
    for stage in ("quickstart_stage1", "quickstart_stage2"):
        results = tmp_path / "mlruns" / "runs" / stage / "results.json"
        results.parent.mkdir(parents=True)
        results.touch()
        os.utime(results, (1e9, 1e9))
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    ended = subprocess.run(
        ["make", "quickstart", "RUN=./python", "STAMP=installed"],
        cwd=tmp_path, env={**os.environ, "STOPPED": stopped, "CODE": str(code)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = (tmp_path / "said.txt").read_text()
    if stopped == "nothing":
        assert ended.returncode == 0 and "experiments.predict" in said
        return
    assert ended.returncode != 0 and "experiments.prepare" not in said
    assert said.splitlines()[-1].count(stopped) >= 1
    assert ("the stage was stopped before its end" in ended.stderr) == (code == 0)
