"""A Lightning logger for MLflow that keeps what it cannot send and sends it later.

Training outlives its tracker: while the tracker is down, entries go to `spool.jsonl` in the run
directory and are replayed, with their own times, at the next success or at the end.
"""

import json
import logging
import os
import re
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypedDict

from lightning.fabric.utilities.logger import _convert_params, _flatten_dict
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

logger = logging.getLogger(__name__)

URI_VARIABLE = "MLFLOW_TRACKING_URI"
SPOOL_NAME = "spool.jsonl"
PARAM_CHARACTERS = 6000
TEST_MARKS = ("/test/", "perf/test_")  # parts of the names of figures that a run has once
BATCH_ENTRIES = 100
DIGEST_CHARACTERS = 36  # the most that MLflow takes
# The tracker understood and refused: sending the same again would be refused again.
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
# SQLAlchemy's errors reach us inside MlflowException; requests' are OSErrors.
TRACKER_ERRORS = (MlflowException, OSError)

Entry = dict[str, object]


class Batch(TypedDict, total=False):
    """Entities that one `log_batch` sends."""

    metrics: list[Metric]
    params: list[Param]
    tags: list[RunTag]


class SpooledMLFlowLogger(MLFlowLogger):
    """MLFlowLogger that spools to `spool_folder` while the tracker is down.

    retry_seconds: after a failure nothing is sent for so long, because each try may block.
    """

    def __init__(
        self,
        experiment_name: str = "diffuse-defect",
        *,
        tracking_uri: str,
        spool_folder: Path,
        run_name: str | None = None,
        tags: dict[str, str] | None = None,
        artifact_location: str | None = None,
        run_id: str | None = None,
        retry_seconds: float = 60.0,
    ) -> None:
        # MLflow's own seven retries block a training step for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        super().__init__(
            experiment_name=experiment_name,
            run_name=run_name,
            tracking_uri=tracking_uri,
            tags=dict(tags or {}),
            artifact_location=artifact_location,
            run_id=run_id,
        )
        self.spool_path = spool_folder / SPOOL_NAME
        self.on_run: Callable[[str], None] | None = None
        self._retry_seconds = retry_seconds
        self._silent_until = 0.0

    @property
    def experiment(self) -> MlflowClient:
        """The MLflow client; the first call makes the run, and may fail while the tracker is down.

        `on_run` is told the run's id as soon as there is one.
        Lightning sets MLFLOW_TRACKING_URI on the way, which would decide for every later run of
        this process, in whatever folder: the variable is put back.
        """
        before, known = os.environ.get(URI_VARIABLE), self._run_id
        try:
            client = super().experiment
            if known is None and self._run_id is not None and self.on_run is not None:
                self.on_run(self._run_id)
            return client
        finally:
            os.environ.pop(URI_VARIABLE, None)
            if before is not None:
                os.environ[URI_VARIABLE] = before

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send or spool the metrics.

        Those of a test are no curve: at step 0 MLflow draws them as bars, run beside run.
        """
        values = {_allowed(key): float(value) for key, value in metrics.items()}
        moment = int(time.time() * 1000)
        final = {key for key in values if any(mark in key for mark in TEST_MARKS)}
        for keys, at in ((values.keys() - final, step or 0), (final, 0)):
            some = {key: values[key] for key in sorted(keys)}
            if some:
                self._log({"kind": "metrics", "values": some, "step": at, "time_ms": moment})

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, object] | Namespace) -> None:
        """Send or spool the parameters, nested keys joined by "/", texts to 6000 characters."""
        flat = _flatten_dict(
            _convert_params(params if isinstance(params, Namespace) else dict(params))
        )
        values = {_allowed(str(key)): str(value)[:PARAM_CHARACTERS] for key, value in flat.items()}
        self._log({"kind": "params", "values": values})

    @rank_zero_only
    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Send or spool tags of the run."""
        self._log({"kind": "tags", "values": dict(tags)})

    @rank_zero_only
    def log_dataset(self, name: str, digest: str, counts: Mapping[str, int]) -> None:
        """Send or spool which data the run reads: its name, hash, and pictures by split."""
        self._log({"kind": "dataset", "name": name, "digest": digest, "counts": dict(counts)})

    @rank_zero_only
    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Send a file to the run's artifact folder, or spool its path."""
        self._log({"kind": "artifact", "path": str(path), "folder": folder})

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """What the Trainer calls after training, validation and test: only a failure ends the run.

        A run that is killed between training and test must not look finished, see `close`.
        """
        if status != "success":
            self._end(status)

    @rank_zero_only
    def close(self) -> None:
        """The run has finished, all that it wanted to do is done."""
        self._end("success")

    def _end(self, status: str) -> None:
        """Replay the spool and end the run; a tracker that is still down is only warned of."""
        self._silent_until = 0.0
        if self.spool_path.exists():
            self._attempt(self._replay)
        closed = self._attempt(lambda: MLFlowLogger.finalize(self, status))
        if self.spool_path.exists() or not closed:
            logger.warning(
                "the tracker %s is down: metrics wait in %s and are replayed when the run resumes",
                self._tracking_uri,
                self.spool_path,
            )

    def _log(self, entry: Entry) -> None:
        """Send one entry, after those that wait; spool it when that fails."""
        if time.monotonic() < self._silent_until or not self._attempt(lambda: self._deliver(entry)):
            self._spool(entry)

    def _deliver(self, entry: Entry) -> None:
        """Replay what waits, then send the entry."""
        if self.spool_path.exists():
            self._replay()
        self._send(entry)

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Whether the action went through; a failure silences the tracker for a while."""
        try:
            action()
        except TRACKER_ERRORS as error:
            self._silent_until = time.monotonic() + self._retry_seconds
            reason = " ".join(str(error).split())[:200]
            logger.warning("tracking failed, training goes on: %s", reason)
            return False
        return True

    def _send(self, entry: Entry) -> None:
        """Send one entry; what the tracker refuses for good is reported and dropped."""
        client: MlflowClient = self.experiment
        run_id = str(self.run_id)
        try:
            if entry["kind"] == "artifact":
                if Path(str(entry["path"])).exists():
                    client.log_artifact(run_id, str(entry["path"]), str(entry["folder"]) or None)
                return
            if entry["kind"] == "dataset":
                client.log_inputs(run_id, [_dataset_input(entry)])
                return
            for batch in _mlflow_batches(entry):
                client.log_batch(run_id, **batch)
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            reason = " ".join(str(error).split())[:200]
            logger.warning("the tracker refused %s: %s", entry["kind"], reason)

    def _spool(self, entry: Entry) -> None:
        """Append the entry to the spool; on a full disk it is lost, and training goes on."""
        try:
            self.spool_path.parent.mkdir(parents=True, exist_ok=True)
            with self.spool_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            logger.warning("an entry for the tracker is lost, training goes on: %s", error)

    def _replay(self) -> None:
        """Send all that waits, in order; what could not be sent stays in the spool."""
        lines = self.spool_path.read_text(encoding="utf-8").splitlines()
        sent = 0
        try:
            for line in lines:
                entry = _parse_entry(line)
                if entry is not None:
                    self._send(entry)
                sent += 1
        finally:
            rest = "".join(f"{line}\n" for line in lines[sent:])
            temporary = self.spool_path.with_suffix(".tmp")
            temporary.write_text(rest, encoding="utf-8")
            os.replace(temporary, self.spool_path)
            if not rest:
                self.spool_path.unlink()


def _mlflow_batches(entry: Entry) -> Iterator[Batch]:
    """The arguments of `log_batch` for one entry, in the sizes that MLflow takes."""
    values = entry["values"]
    assert isinstance(values, dict)
    pairs = list(values.items())
    for start in range(0, len(pairs), BATCH_ENTRIES):
        chunk = pairs[start : start + BATCH_ENTRIES]
        if entry["kind"] == "metrics":
            moment, step = int(str(entry["time_ms"])), int(str(entry["step"]))
            yield {"metrics": [Metric(key, value, moment, step) for key, value in chunk]}
        elif entry["kind"] == "params":
            yield {"params": [Param(key, value) for key, value in chunk]}
        else:
            yield {"tags": [RunTag(key, value) for key, value in chunk]}


def _dataset_input(entry: Entry) -> DatasetInput:
    """The data of an entry, once for all splits: MLflow keeps one input per data and run."""
    name, digest, counts = str(entry["name"]), str(entry["digest"]), entry["counts"]
    assert isinstance(counts, dict)
    dataset = Dataset(
        name=name,
        digest=digest[:DIGEST_CHARACTERS],
        source_type="manifest",
        source=json.dumps({"manifest_sha256": digest}),
        profile=json.dumps(counts),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, ", ".join(counts))])


def _parse_entry(line: str) -> Entry | None:
    """One line of the spool; None for a line that a crash cut short."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _allowed(key: str) -> str:
    """The key without the characters that MLflow refuses: a comma is a dash, others are "_"."""
    return re.sub(
        r"[^\w/. :-]+", "_", key.replace(", ", " - ").replace(" = ", " ").replace("'", "")
    )
