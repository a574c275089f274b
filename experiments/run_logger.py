"""Lightning's logger of a run: it outlives its tracker, and goes on where a run was interrupted.

While the tracker is down, entries wait in `spool.jsonl` of the run directory; they are replayed
with their own times at the next success, at the run's end, or by `--resume auto`.
"""

import json
import logging
import os
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from datamodules.whole_files import write_whole
from experiments.tracking import URI_VARIABLE, artifact_folder, key_of, tracking_uri

logger = logging.getLogger(__name__)

RUN_ID_NAME = "mlflow_run_id"
SPOOL_NAME = "spool.jsonl"
PARAM_CHARACTERS = 6000
TEST_MARKS = ("/test/", "perf/test_")  # parts of the names of figures that a run has once
BATCH_ENTRIES = 100  # the most params and tags that MLflow takes at once
DIGEST_CHARACTERS = 36  # the most that MLflow takes
# The tracker understood and refused: sending the same again would be refused again.
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
# SQLAlchemy's errors reach us inside MlflowException; requests' are OSErrors.
TRACKER_ERRORS = (MlflowException, OSError)


class RunLogger(MLFlowLogger):
    """Lightning's MLflow logger of a run; `initialise_tracking` must have been called.

    directory: the run's; a file there notes the tracked run, so that an interrupted run goes on in
    the same one. retry_seconds: after a failure nothing is sent for so long, because each try may
    block.
    """

    def __init__(
        self,
        output: Path,
        experiment: str,
        run_name: str,
        tags: Mapping[str, str],
        *,
        directory: Path | None = None,
        retry_seconds: float = 60.0,
    ) -> None:
        # MLflow's own seven retries block a training step for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        super().__init__(
            experiment_name=experiment,
            run_name=run_name,
            tracking_uri=tracking_uri(output),
            tags=dict(tags),
            artifact_location=artifact_folder(output),
        )
        self.spool_path = (directory or output / "runs" / run_name) / SPOOL_NAME
        self._id_file = directory / RUN_ID_NAME if directory else None
        self._retry_seconds = retry_seconds
        self._silent_until = 0.0
        if self._id_file is not None and self._id_file.is_file():
            self._run_id = self._id_file.read_text(encoding="utf-8").strip()
            self.set_status("RUNNING")

    @property
    def experiment(self) -> MlflowClient:
        """The MLflow client; the first call makes the run, and may fail while the tracker is down.

        Lightning sets MLFLOW_TRACKING_URI on the way, which would decide for every later run of
        this process, in whatever folder: the variable is put back.
        """
        before, known = os.environ.get(URI_VARIABLE), self._run_id
        try:
            client = super().experiment
            if known is None and self._run_id is not None and self._id_file is not None:
                write_whole(self._id_file, f"{self._run_id}\n")
            return client
        finally:
            os.environ.pop(URI_VARIABLE, None)
            if before is not None:
                os.environ[URI_VARIABLE] = before

    @property
    def is_new(self) -> bool:
        """Whether no tracked run is known yet."""
        return self._run_id is None

    @rank_zero_only
    def set_status(self, status: str) -> None:
        """Set RUNNING or KILLED; a run that the tracker has lost is forgotten, said.

        With a tracker that is down the run counts as there: its entries wait in the spool.
        """
        try:
            self.experiment.update_run(str(self.run_id), status=status)
        except TRACKER_ERRORS as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                logger.warning(
                    "tracked run %s is gone from the tracker: a new one begins", self._run_id
                )
                self._run_id = None
            else:
                logger.warning("the tracked run was not set to %s: %s", status, _in_short(error))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send or spool the metrics.

        Those of a test are no curve: at step 0 MLflow draws them as bars, run beside run.
        """
        moment = int(time.time() * 1000)
        by_step: dict[int, dict[str, float]] = {}
        for key, value in sorted(metrics.items()):
            at = 0 if any(mark in key for mark in TEST_MARKS) else step or 0
            by_step.setdefault(at, {})[key_of(key)] = float(value)
        for at, values in by_step.items():
            self._log("metrics", values=values, step=at, time_ms=moment)

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, object] | Namespace) -> None:
        """Send or spool the parameters: nested keys dotted, without init_args; texts are cut."""
        flat = flat_settings(vars(params) if isinstance(params, Namespace) else params)
        values = {key_of(key): str(value)[:PARAM_CHARACTERS] for key, value in flat.items()}
        self._log("params", values=values)

    @rank_zero_only
    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Send or spool tags of the run."""
        self._log("tags", values=dict(tags))

    @rank_zero_only
    def log_dataset(self, name: str, digest: str, counts: Mapping[str, int]) -> None:
        """Send or spool which data the run reads: its name, hash, and images by split."""
        self._log("dataset", name=name, digest=digest, counts=dict(counts))

    @rank_zero_only
    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Send a file to the run's artifact folder, or spool its path."""
        self._log("artifact", path=str(path), folder=folder)

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """What the Trainer calls after training, validation and test: only a failure ends the run.

        A run that is killed between training and test must not look finished, see `close`.
        """
        if status != "success":
            self.close(status)

    @rank_zero_only
    def close(self, status: str = "success") -> None:
        """Replay the spool and end the run; a tracker that is still down is only warned of."""
        self._silent_until = 0.0
        self._attempt(self._replay)
        closed = self._attempt(lambda: MLFlowLogger.finalize(self, status))
        if self.spool_path.exists() or not closed:
            logger.warning(
                "the tracker %s is down: metrics wait in %s and are replayed when the run resumes",
                self._tracking_uri,
                self.spool_path,
            )

    @contextmanager
    def watching_machine(self) -> Iterator[None]:
        """Tells the tracker, where it is up, how busy processor, memory and GPU are meanwhile."""
        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        monitors: list[SystemMetricsMonitor] = []

        @rank_zero_only
        def start() -> None:
            run_id, uri = str(self.run_id), self._tracking_uri
            monitors.append(SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=uri))
            monitors[0].start()

        self._attempt(start)
        try:
            yield
        finally:
            for monitor in monitors:
                monitor.finish()

    def _log(self, kind: str, **content: object) -> None:
        """Send one entry, after those that wait; spool it when that fails."""
        entry = {"kind": kind, **content}

        def deliver() -> None:
            self._replay()
            self._send(entry)

        if time.monotonic() >= self._silent_until and self._attempt(deliver):
            return
        try:
            self.spool_path.parent.mkdir(parents=True, exist_ok=True)
            with self.spool_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:  # a full disk
            logger.warning("an entry for the tracker is lost, training goes on: %s", error)

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Whether the action went through; a failure silences the tracker for a while."""
        try:
            action()
        except TRACKER_ERRORS as error:
            self._silent_until = time.monotonic() + self._retry_seconds
            logger.warning("tracking failed, training goes on: %s", _in_short(error))
            return False
        return True

    def _replay(self) -> None:
        """Send all that waits, in order; what could not be sent stays in the spool."""
        if not self.spool_path.exists():
            return
        waiting = self.spool_path.read_text(encoding="utf-8").splitlines(keepends=True)
        try:
            while waiting:
                with suppress(json.JSONDecodeError):  # cut short by a crash
                    self._send(json.loads(waiting[0]))
                del waiting[0]
        finally:
            write_whole(self.spool_path, "".join(waiting))
        self.spool_path.unlink()

    def _send(self, entry: Mapping[str, Any]) -> None:
        """Send one entry; what the tracker refuses for good is reported and dropped."""
        client, run_id, kind = self.experiment, str(self.run_id), entry["kind"]
        try:
            if kind == "artifact":
                if Path(entry["path"]).exists():
                    client.log_artifact(run_id, entry["path"], entry["folder"] or None)
            elif kind == "dataset":
                client.log_inputs(run_id, [_dataset_input(entry)])
            else:
                values = [_value(entry, *pair) for pair in entry["values"].items()]
                for start in range(0, len(values), BATCH_ENTRIES):
                    some: dict[str, Any] = {kind: values[start : start + BATCH_ENTRIES]}
                    client.log_batch(run_id, **some)
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            logger.warning("the tracker refused %s: %s", kind, _in_short(error))


def flat_settings(settings: object, prefix: str = "") -> dict[str, object]:
    """Nested settings with dotted keys; the class_path / init_args wrapping is left out."""
    if isinstance(settings, list) and any(isinstance(item, Mapping) for item in settings):
        settings = {str(number): item for number, item in enumerate(settings)}
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    flat: dict[str, object] = {}
    for key, value in settings.items():
        flat |= flat_settings(value, prefix if key == "init_args" else f"{prefix}.{key}".strip("."))
    return flat


def _value(entry: Mapping[str, Any], key: str, value: Any) -> Metric | Param | RunTag:
    """One metric, parameter or tag of an entry."""
    if entry["kind"] == "metrics":
        return Metric(key, value, entry["time_ms"], entry["step"])
    return Param(key, value) if entry["kind"] == "params" else RunTag(key, value)


def _dataset_input(entry: Mapping[str, Any]) -> DatasetInput:
    """The data of an entry, once for all splits: MLflow keeps one input per data and run."""
    dataset = Dataset(
        name=entry["name"],
        digest=entry["digest"][:DIGEST_CHARACTERS],
        source_type="manifest",
        source=json.dumps({"manifest_sha256": entry["digest"]}),
        profile=json.dumps(entry["counts"]),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, ", ".join(entry["counts"]))])


def _in_short(error: Exception) -> str:
    """The error on one line."""
    return " ".join(str(error).split())[:200]
