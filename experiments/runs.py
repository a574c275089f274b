"""Run directories, the tracking database, and the runs that are in it.

The logger that outlives a dead tracker is in `spooled_logger.py`; printing is in `tables.py`.
"""

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import DatabaseError

from experiments.configuration_errors import nearest_names
from experiments.running.spooled_logger import SpooledMLFlowLogger

DATABASE_NAME = "mlflow.db"
RESULTS_NAME = "results.json"
LOCK_SECONDS = 120
PAGE_SIZE = 1000


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
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_database(output)}"


def initialise_tracking(output: Path) -> str:
    """The tracking URI, its database made and migrated once under a file lock.

    Every rank may call it: the first creates, the others wait (four that race for a fresh
    database fail). Raises ValueError when the database is locked or is not one.
    """
    uri = tracking_uri(output)
    _quieten_tracker()
    if "://" in uri and not uri.startswith("sqlite:"):
        return uri
    output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output / f".{DATABASE_NAME}.lock", timeout=LOCK_SECONDS):
            MlflowClient(uri).search_experiments(max_results=1)
    except Timeout as error:
        raise ValueError(
            f"tracking database in {output} is still being made by another process after "
            f"{LOCK_SECONDS} s: wait for it, or give this run its own --output"
        ) from error
    except (DatabaseError, MlflowException) as error:
        raise _database_error(uri, error) from error
    return uri


def run_logger(
    output: Path,
    experiment: str,
    run_name: str,
    tags: Mapping[str, str],
    *,
    run_directory: Path | None = None,
    run_id: str | None = None,
) -> SpooledMLFlowLogger:
    """The Lightning logger of one run; `initialise_tracking` must have been called.

    run_directory: where metrics are kept while the tracker is down, default runs/<run_name>;
    run_id: an existing run to go on with.
    """
    uri = tracking_uri(output)
    local = uri == f"sqlite:///{_database(output)}"
    return SpooledMLFlowLogger(
        experiment_name=experiment,
        run_name=run_name,
        tracking_uri=uri,
        tags=dict(tags),
        artifact_location=(output / "artifacts").resolve().as_uri() if local else None,
        run_id=run_id,
        spool_folder=run_directory or output / "runs" / run_name,
    )


def new_run_directory(output: Path, name: str) -> Path:
    """A directory of this name under `output`/runs that did not exist before.

    Where the name is taken -2, -3, ... is added. Raises ValueError for a name with folders in it.
    """
    if not name or name in (".", "..") or Path(name).name != name:
        raise ValueError(f"run name: got {name!r}, expected one word without folders")
    parent = output / "runs"
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (NotADirectoryError, FileExistsError) as error:
        raise ValueError(
            f"cannot write to {output}: it is a file, or lies in one; expected a folder, choose "
            "another with --output"
        ) from error
    number = 1
    while True:
        directory = parent / (name if number == 1 else f"{name}-{number}")
        try:
            # mkdir is the test: two runs that start together must not share a directory.
            directory.mkdir()
        except FileExistsError:
            number += 1
        else:
            return directory


def write_results(run_directory: Path, metrics: Mapping[str, float]) -> Path:
    """The run's results.json, metric -> number, written whole or not at all; nan becomes null."""
    numbers = {key: float(value) for key, value in sorted(metrics.items())}
    flat = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
    path = run_directory / RESULTS_NAME
    temporary = run_directory / f".{RESULTS_NAME}"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(flat, file, indent=2, allow_nan=False)
        file.write("\n")
    os.replace(temporary, path)
    return path


def read_results(run_directory: Path) -> dict[str, float]:
    """What `write_results` wrote; null becomes nan."""
    flat = json.loads((run_directory / RESULTS_NAME).read_text(encoding="utf-8"))
    return {key: math.nan if value is None else float(value) for key, value in flat.items()}


def read_runs(output: Path, experiment: str) -> list[RunRow]:
    """The experiment's runs, oldest first.

    Raises FileNotFoundError without a database, ValueError for an unknown experiment.
    """
    client = _open_database(output)
    try:
        experiments = {found.name: found for found in client.search_experiments()}
        if experiment not in experiments:
            raise ValueError(
                f"experiment {experiment!r} is not in {output}; "
                + nearest_names(experiment, _with_runs(experiments))
            )
        runs = _all_runs(client, experiments[experiment].experiment_id)
    except (DatabaseError, MlflowException) as error:
        raise _database_error(tracking_uri(output), error) from error
    return [_row(run) for run in runs]


def experiment_names(output: Path) -> list[str]:
    """The names of all experiments that are tracked in `output`."""
    try:
        found = _open_database(output).search_experiments()
    except (DatabaseError, MlflowException) as error:
        raise _database_error(tracking_uri(output), error) from error
    return sorted(experiment.name for experiment in found)


def _database(output: Path) -> Path:
    """The absolute path of the SQLite file in `output`."""
    return output.resolve() / DATABASE_NAME


def _open_database(output: Path) -> MlflowClient:
    """A client of the existing tracker; a missing database is an error, not created."""
    uri = tracking_uri(output)
    _quieten_tracker()
    if uri == f"sqlite:///{_database(output)}" and not _database(output).is_file():
        raise FileNotFoundError(
            f"tracking database {output / DATABASE_NAME} is missing: run python -m "
            "experiments.run first, or name the folder of its runs with --output"
        )
    try:
        return MlflowClient(uri)
    except (DatabaseError, MlflowException) as error:
        raise _database_error(uri, error) from error


def _all_runs(client: MlflowClient, experiment_id: str) -> list[Run]:
    """All active runs of one experiment, oldest first."""
    runs: list[Run] = []
    token: str | None = None
    while token != "":
        page = client.search_runs(
            [experiment_id],
            max_results=PAGE_SIZE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        runs.extend(page)
        token = page.token or ""
    return runs


def _row(run: Run) -> RunRow:
    """One MLflow run as a RunRow."""
    return RunRow(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id,
        status=run.info.status,
        started=datetime.fromtimestamp(run.info.start_time / 1000, tz=UTC),
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
    )


def _with_runs(experiments: Mapping[str, Experiment]) -> list[str]:
    """Experiment names worth naming: MLflow's own empty "Default" is left out."""
    return sorted(name for name in experiments if name != "Default")


def _database_error(uri: str, error: Exception) -> ValueError:
    """What is wrong with the tracker, as one line with its remedy."""
    reason = " ".join(str(error).split("[SQL:")[0].split())
    if "database is locked" in reason:
        return ValueError(
            f"tracking database {uri} is locked by another process: wait for it or close it "
            "(an open database browser counts), or use another --output"
        )
    if "not a database" in reason:
        return ValueError(
            f"tracking database {uri} is not an SQLite database: move the file away, "
            "or use another --output"
        )
    return ValueError(f"tracker {uri} answered: {reason}")


def _quieten_tracker() -> None:
    """Keep MLflow from printing tracebacks and migrations that we report in one line."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
