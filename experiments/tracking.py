"""Runs in MLflow: where its database is, what is read back of runs; results.json beside it.

What a run logs, also while its tracker is down, is in `run_logger.py`.
"""

import json
import logging
import math
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as store
from mlflow.tracking import MlflowClient
from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
from sqlalchemy.exc import ArgumentError, DatabaseError

from datamodules.whole_files import write_whole
from experiments.cli import error_line, nearest_names

DATABASE_NAME = "mlflow.db"
RESULTS_NAME = "results.json"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
LOCK_SECONDS = 30
# A tracker that doesn't answer is waited for by MLflow for minutes; a user's own words win.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "PGCONNECT_TIMEOUT": "5",
}
PAGE_RUNS = 500
KEY_CHARACTERS = 250  # the most that MLflow takes


class TrackerError(ValueError):
    """The tracker can't be reached, or not be used; a run goes on without it."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One tracked run: its last metrics, its parameters and tags as text."""

    run_id: str
    name: str
    status: str
    started: datetime
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def tracking_uri(output: Path) -> str:
    """Where runs are tracked: MLFLOW_TRACKING_URI, else the SQLite file in `output`."""
    return os.environ.get(URI_VARIABLE) or _own_uri(output)


def shown_uri(uri: str) -> str:
    """The URI without its password."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", uri)


def artifact_folder(output: Path) -> str | None:
    """Where artifacts lie beside our own database; None where a server decides."""
    local = tracking_uri(output) == _own_uri(output)
    return (output / "artifacts").resolve().as_uri() if local else None


def key_of(name: str) -> str:
    """What MLflow calls a metric or parameter: its name, with `:2b:` for a sign such as "+".

    No two names have one key. One that is longer than MLflow takes ends in a hash of it.
    """

    def coded(found: re.Match[str]) -> str:
        return f":{ord(found[0]):x}:"

    key = re.sub(r"[^\w/. :-]|:(?=[0-9a-f])", coded, name)
    if posixpath.normpath(key) != key or key.startswith((".", "/")):
        key = re.sub(r"[/.]", coded, key)  # MLflow refuses what a path would be written shorter
    return key if len(key) <= KEY_CHARACTERS else f"{key[:180]} {sha256(name.encode()).hexdigest()}"


def name_of(key: str) -> str:
    """The name that `key_of` gave this key."""
    return re.sub(":(10[0-9a-f]{4}|[0-9a-f]{1,5}):", lambda found: chr(int(found[1], 16)), key)


def initialise_tracking(output: Path) -> str:
    """The tracking URI, its database made and migrated once under a file lock.

    Every rank may call it: the first creates, the others wait (four that race for a fresh
    database fail). Raises TrackerError when the database is locked or is not one, ValueError for a
    URI that MLflow does not know.
    """
    uri = tracking_uri(output)
    _make_impatient()
    if "://" in uri and not uri.startswith("sqlite:"):
        with one_line(uri):
            MlflowClient(uri)  # asks no server yet
        return uri
    output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output / f".{DATABASE_NAME}.lock", timeout=LOCK_SECONDS), one_line(uri):
            MlflowClient(uri).search_experiments(max_results=1)
    except Timeout as error:
        raise TrackerError(
            f"tracking database in {output} is still being made by another process after "
            f"{LOCK_SECONDS} s: wait for it, or give this run its own --output"
        ) from error
    return uri


def read_runs(output: Path, *wanted: str) -> list[RunRow]:
    """The runs of these experiments, oldest first.

    Raises FileNotFoundError without a database, ValueError for an unknown experiment.
    """
    client = _open_database(output)
    with one_line(tracking_uri(output)):
        experiments = {found.name: found.experiment_id for found in client.search_experiments()}
        for name in wanted:
            if name not in experiments:
                # MLflow's own "Default" is always there and empty.
                known = sorted(known for known in experiments if known != "Default")
                raise ValueError(
                    f"experiment {name!r} is not in {output}; {nearest_names(name, known)}"
                )
        runs, token, order = list[Run](), None, ["attributes.start_time ASC"]
        while token is None or token:
            page = client.search_runs(
                [experiments[name] for name in wanted],
                "",
                max_results=PAGE_RUNS,
                order_by=order,
                page_token=token,
            )
            runs += page
            token = page.token or ""
    return [
        RunRow(
            run_id=run.info.run_id,
            name=run.info.run_name or run.info.run_id,
            status=run.info.status,
            started=datetime.fromtimestamp(run.info.start_time / 1000, tz=UTC),
            metrics={name_of(key): value for key, value in run.data.metrics.items()},
            params={name_of(key): value for key, value in run.data.params.items()},
            tags=dict(run.data.tags),
        )
        for run in runs
    ]


def experiment_names(output: Path) -> list[str]:
    """The names of all experiments that are tracked in `output`."""
    client = _open_database(output)
    with one_line(tracking_uri(output)):
        return sorted(experiment.name for experiment in client.search_experiments())


def write_results(run_directory: Path, metrics: Mapping[str, float]) -> Path:
    """The run's results.json, metric -> number, written whole or not at all; nan becomes null."""
    numbers = {key: float(value) for key, value in sorted(metrics.items())}
    flat = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
    path = run_directory / RESULTS_NAME
    write_whole(path, json.dumps(flat, indent=2, allow_nan=False) + "\n")
    return path


def read_results(run_directory: Path) -> dict[str, float]:
    """What `write_results` wrote; null becomes nan."""
    flat = json.loads((run_directory / RESULTS_NAME).read_text(encoding="utf-8"))
    return {key: math.nan if value is None else float(value) for key, value in flat.items()}


def _database(output: Path) -> Path:
    """The absolute path of the SQLite file in `output`."""
    return output.resolve() / DATABASE_NAME


def _own_uri(output: Path) -> str:
    """The URI of the SQLite file in `output`; quoted where its path has a sign that URIs have."""
    path = str(_database(output))
    # Slashes, too: MLflow makes the folders that it reads in a URI, and would make quoted ones.
    return f"sqlite:///{quote(path, safe='') if set(path) & set('?#%') else path}"


def _open_database(output: Path) -> MlflowClient:
    """A client of the existing tracker; a missing database is an error, not created."""
    uri = tracking_uri(output)
    _make_impatient()
    if uri == _own_uri(output) and not _database(output).is_file():
        raise FileNotFoundError(
            f"tracking database {output / DATABASE_NAME} is missing: run python -m "
            "experiments.run first, or name the folder of its runs with --output"
        )
    with one_line(uri):
        return MlflowClient(uri)


@contextmanager
def one_line(uri: str) -> Iterator[None]:
    """What is wrong with the tracker becomes one line with its remedy.

    Raises ValueError for a URI that MLflow does not know, TrackerError for everything else.
    """
    uri = shown_uri(uri)
    try:
        yield
    except (UnsupportedModelRegistryStoreURIException, ArgumentError, ImportError) as error:
        raise ValueError(
            f"tracker {uri} can't be used: {error_line(error)}; set or unset {URI_VARIABLE}"
        ) from error
    except (DatabaseError, MlflowException, OSError) as error:
        reason = " ".join(str(error).split("[SQL:")[0].split())
        if "database is locked" in reason:
            reason = (
                f"tracking database {uri} is locked by another process: wait for it or close it "
                "(an open database browser counts), or use another --output"
            )
        elif "not a database" in reason:
            reason = (
                f"tracking database {uri} is not an SQLite database: move the file away, "
                "or use another --output"
            )
        elif reason.startswith("API request to") and "exception" in reason:
            reason = (
                f"tracker {uri} can't be reached ({reason.partition(' exception ')[2][:200]}): "
                f"start it, or set or unset {URI_VARIABLE}"
            )
        else:
            reason = f"tracker {uri} answered: {reason}"
        raise TrackerError(reason) from error


def _make_impatient() -> None:
    """Keep MLflow from waiting for minutes, and from printing what we report in one line."""
    for variable, value in PATIENCE.items():
        os.environ.setdefault(variable, value)
    store.MAX_RETRY_COUNT = 1
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
