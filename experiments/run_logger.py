"""Lightning's logger of a run: training never waits for its tracker, and nothing of it is lost.

Entries are written to `spool.jsonl` of the run directory and sent by a thread of their own, which
tries again while the tracker is down. What is left at the run's end is sent by `--resume auto`.
"""

import json
import logging
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.environment_variables import MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_RUN_NAME
from PIL import Image

from datamodules.whole_files import write_whole
from experiments.tracking import artifact_folder, key_of, shown_uri, tracking_uri

logger = logging.getLogger(__name__)

RUN_ID_NAME = "mlflow_run_id"
SPOOL_NAME = "spool.jsonl"
PARAM_CHARACTERS = 6000
TEST_MARKS = ("/test/", "perf/test_")  # parts of the names of figures that a run has once
DIGEST_CHARACTERS = 36  # the most that MLflow takes
RETRY_SECONDS = 60.0
WAIT_SECONDS = 10.0  # that a run waits for its tracker at its end, and where it goes on
MACHINE_SECONDS = 10.0
BATCHES = {"metrics": 1000, "params": 100, "tags": 100}  # the most that MLflow takes at once
FILES = ("artifact", "image")
# The tracker understood and refused: sending the same again would be refused again.
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
NOT_OF_MLFLOW = "Response body"  # says its client of an answer that isn't MLflow's, but a proxy's
Entry = Mapping[str, Any]


class RunLogger(Logger):
    """Lightning's logger of a run in MLflow; no method but `begin` raises for a tracker.

    directory: the run's; a file there notes the tracked run, so that an interrupted run goes on in
    the same one. is_new: whether no tracked run is known yet. retry_seconds: between two tries.
    """

    def __init__(
        self,
        output: Path,
        experiment: str,
        run_name: str,
        tags: Mapping[str, str],
        *,
        directory: Path | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        super().__init__()
        self.spool_path = (directory or output / "runs" / run_name) / SPOOL_NAME
        self.is_new = True
        self._uri, self._artifacts = tracking_uri(output), artifact_folder(output)
        self._experiment, self._tags = experiment, {**tags, MLFLOW_RUN_NAME: run_name}
        self._id_file = directory / RUN_ID_NAME if directory else None
        self._retry_seconds = retry_seconds
        self._started_ms = int(time.time() * 1000)
        self._client: MlflowClient | None = None
        self._run_id = ""
        # What the thread and the others share, under its lock.
        self._change = threading.Condition()
        self._waiting: list[Entry] = []
        self._is_spooled = True
        self._failures, self._is_down, self._is_urgent = 0, False, False
        self._thread: threading.Thread | None = None
        self._go_on()

    @property
    def name(self) -> str:
        """The experiment."""
        return self._experiment

    @property
    def version(self) -> str:
        """The tracked run, empty while none is made."""
        return self._run_id

    @rank_zero_only
    def set_status(self, status: str) -> None:
        """Send or spool RUNNING, KILLED, FAILED or FINISHED."""
        self._log("status", status=status, time_ms=int(time.time() * 1000))

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
        self._log("artifact", path=str(path.resolve()), folder=folder)

    @rank_zero_only
    def log_image(self, path: Path, *, key: str, step: int) -> None:
        """Send an image that MLflow shows with the others of this key, or spool its path."""
        moment = int(time.time() * 1000)
        self._log("image", path=str(path.resolve()), key=key, step=step, time_ms=moment)

    @rank_zero_only
    def begin(self) -> str:
        """The tracked run, made now; what its tracker raises is raised."""
        return self._open()[1]

    @rank_zero_only
    def close(self, status: str = "FINISHED") -> None:
        """End the run; a tracker that is still down is only warned of."""
        self.set_status(status)
        if not self.flush():
            logger.warning(
                "the tracker %s is down: metrics wait in %s and are sent when the run resumes",
                shown_uri(self._uri),
                self.spool_path,
            )
        with self._change:
            self._thread = None  # it ends, and touches nothing more
            self._change.notify_all()

    def flush(self, seconds: float = WAIT_SECONDS) -> bool:
        """Whether all is sent: waits until it is, a try has failed, or the time is over."""
        with self._change:
            failures, self._is_urgent = self._failures, True
            self._change.notify_all()
            self._change.wait_for(
                lambda: not self._waiting or self._failures > failures, timeout=seconds
            )
            return not self._waiting

    @contextmanager
    def watching_machine(self) -> Iterator[None]:
        """Logs meanwhile how busy processor, memory, disk, network and GPU are."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    @rank_zero_only
    def _watch(self, ended: threading.Event) -> None:
        monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        with suppress(ImportError, RuntimeError):  # no GPU of NVIDIA
            monitors.append(GPUMonitor())
        while not ended.wait(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or MACHINE_SECONDS):
            values: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                values |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            figures = {f"system/{name}": value for name, value in values.items()}
            # By the clock, so that the curves of a resumed run go on.
            self.log_metrics(figures, step=int(time.time()))

    @rank_zero_only
    def _go_on(self) -> None:
        """Take up what an earlier process has left: the tracked run and the spool."""
        if self.spool_path.is_file():
            for line in self.spool_path.read_text(encoding="utf-8").splitlines():
                with suppress(json.JSONDecodeError):  # cut short by a crash
                    self._waiting.append(json.loads(line))
        if self._id_file is not None and self._id_file.is_file():
            self._run_id = self._id_file.read_text(encoding="utf-8").strip()
            self.is_new = False
            self.set_status("RUNNING")
            self.flush()

    def _log(self, kind: str, **content: object) -> None:
        """Spool an entry, and wake the thread that sends it."""
        with self._change:
            self._waiting.append({"kind": kind, **content})
            self._spool()
            if self._thread is None:
                self._thread = threading.Thread(target=self._deliver, daemon=True)
                self._thread.start()
            self._change.notify_all()

    def _spool(self) -> None:
        """Write the newest entry to the disk, or all where an earlier one could not be written."""
        lines = [json.dumps(one) + "\n" for one in self._waiting[-1 if self._is_spooled else 0 :]]
        try:
            self.spool_path.parent.mkdir(parents=True, exist_ok=True)
            with self.spool_path.open("a" if self._is_spooled else "w", encoding="utf-8") as file:
                file.writelines(lines)
            self._is_spooled = True
        except OSError as error:  # a full disk
            if self._is_spooled:
                logger.warning(
                    "%s can't be written (%s), training goes on: what the tracker has not when "
                    "the run ends is lost",
                    self.spool_path,
                    error,
                )
            self._is_spooled = False

    def _deliver(self) -> None:
        """What the thread does: send what waits, until the run is closed."""
        own = threading.current_thread()
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._thread is not own)
                if self._thread is not own:
                    return
                some = next_entries(self._waiting)
            try:
                self._send(some)
                fault = None
            except Exception as error:  # a tracker may break in any way, training must not
                fault = error
            with self._change:
                if self._thread is not own:
                    return
                if fault is None:
                    sent = {id(one) for one in some}
                    self._waiting = [one for one in self._waiting if id(one) not in sent]
                    if not self._waiting:
                        with suppress(OSError):  # what it holds is sent again by a resume
                            self.spool_path.unlink()
                    self._is_down = False
                else:
                    self._failures += 1
                    self._report(fault)
                self._change.notify_all()
                if fault is not None:
                    self._is_urgent = False
                    self._change.wait_for(
                        lambda: self._is_urgent or self._thread is not own, self._retry_seconds
                    )

    def _report(self, fault: Exception) -> None:
        """Say once that the tracker is down, and write what waits: some of it may be sent."""
        if not self._is_down:
            logger.warning("tracking failed, training goes on: %s", _in_short(fault))
        self._is_down, self._is_spooled = True, False
        self._spool()

    def _open(self) -> tuple[MlflowClient, str]:
        """The client and the tracked run; a run is made where none is known."""
        if self._client is None:
            self._client = MlflowClient(self._uri)
        client = self._client
        if not self._run_id:
            found = client.get_experiment_by_name(self._experiment)
            experiment = found.experiment_id if found else ""
            if not experiment:
                experiment = client.create_experiment(self._experiment, self._artifacts)
            tags = resolve_tags(self._tags)
            self._run_id = client.create_run(experiment, self._started_ms, tags).info.run_id
            if not self._run_id:
                raise ConnectionError(f"{self._uri} is no MLflow server: it names no run")
            if self._id_file is not None:
                write_whole(self._id_file, f"{self._run_id}\n")
        return client, self._run_id

    def _send(self, entries: Sequence[Entry]) -> None:
        """Send entries of one kind; a run that the tracker has lost is forgotten, said."""
        client, run_id = self._open()
        try:
            send(client, run_id, entries)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" and run_id in str(error):
                logger.warning("tracked run %s is gone from the tracker: a new one begins", run_id)
                self._run_id, self.is_new = "", True
                return self._send(entries)
            if not is_refusal(error):
                raise
            logger.warning("the tracker refused %s: %s", entries[0]["kind"], _in_short(error))


def next_entries(waiting: Sequence[Entry]) -> list[Entry]:
    """What is sent next: entries of one kind; files come last, because theirs is another store."""
    first = next((one for one in waiting if one["kind"] not in FILES), waiting[0])
    if first["kind"] not in BATCHES:
        return [first]
    others = (one for one in waiting if one["kind"] not in FILES)
    alike = takewhile(lambda one: one["kind"] == first["kind"], others)
    return list(islice(alike, BATCHES[first["kind"]]))


def send(client: MlflowClient, run_id: str, entries: Sequence[Entry]) -> None:
    """Send entries of one kind; MlflowException and others where the tracker does not take them."""
    entry, kind = entries[0], entries[0]["kind"]
    if kind in BATCHES:
        values = [_value(one, *pair) for one in entries for pair in one["values"].items()]
        for start in range(0, len(values), BATCHES[kind]):
            send_values(client, run_id, kind, values[start : start + BATCHES[kind]])
    elif kind == "dataset":
        client.log_inputs(run_id, [_dataset_input(entry)])
    elif kind == "status" and entry["status"] == "RUNNING":
        client.update_run(run_id, entry["status"])
    elif kind == "status":
        client.set_terminated(run_id, entry["status"], entry["time_ms"])
    elif Path(entry["path"]).exists():
        if kind == "artifact":
            client.log_artifact(run_id, entry["path"], entry["folder"] or None)
            return
        more = {"key": entry["key"], "step": entry["step"], "timestamp": entry["time_ms"]}
        with Image.open(entry["path"]) as image:
            client.log_image(run_id, image, **more, synchronous=True)


def send_values(client: MlflowClient, run_id: str, kind: str, values: Sequence[Any]) -> None:
    """Send metrics, parameters or tags; one that is refused costs no other."""
    try:
        client.log_batch(run_id, **{kind: values})  # type: ignore[arg-type]
    except MlflowException as error:
        if not is_refusal(error):
            raise
        if half := len(values) // 2:
            send_values(client, run_id, kind, values[:half])
            return send_values(client, run_id, kind, values[half:])
        logger.warning("the tracker refused %s %s: %s", kind, values[0].key, _in_short(error))


def is_refusal(error: MlflowException) -> bool:
    """Whether MLflow itself refuses what was sent, so that it would always be refused."""
    return error.error_code in REFUSALS and NOT_OF_MLFLOW not in str(error)


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
