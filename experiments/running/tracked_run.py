"""The tracked run of a run directory: one and the same however often the run is interrupted."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import Namespace
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from experiments.running.ranks import is_first
from experiments.running.spooled_logger import SPOOL_NAME, TRACKER_ERRORS
from experiments.runs import initialise_tracking, run_logger, tracking_uri
from lightning_modules.weights_io import first_line

logger = logging.getLogger(__name__)

RUN_ID_NAME = "mlflow_run_id"


class TrackedRun:
    """The run that `directory` noted, running again, or a new one; `logger` is Lightning's."""

    def __init__(
        self, output: Path, directory: Path, *, experiment: str, name: str, tags: Mapping[str, str]
    ) -> None:
        initialise_tracking(output)
        self.directory, self._output = directory, output
        self.run_id = self._noted()
        self.logger = run_logger(
            output, experiment, name, tags, run_directory=directory, run_id=self.run_id
        )
        if self.run_id is not None and not self.set_status("RUNNING"):
            logger.warning("tracked run %s is gone from the tracker: a new one begins", self.run_id)
            self.run_id = None
            self.logger = run_logger(output, experiment, name, tags, run_directory=directory)

    def log_settings(self, settings: Mapping[str, object]) -> None:
        """The settings as parameters, where the run is new.

        The directory notes the run when the tracker makes it, which may be later.
        """
        if self.run_id is None:
            self.logger.on_run = self._note
            self.logger.log_hyperparams(settings)

    def set_status(self, status: str) -> bool:
        """Set RUNNING or KILLED; False where the tracker has no such run.

        With a tracker that is down the run counts as there: its entries wait in the spool.
        """
        if not is_first():
            return True
        try:
            client = self.logger.experiment
            client.update_run(str(self.logger.run_id), status=status)
        except TRACKER_ERRORS as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return False
            logger.warning("the tracked run was not set to %s: %s", status, first_line(error))
        return True

    @contextmanager
    def watching_machine(self) -> Iterator[None]:
        """Tells the tracker how busy processor, memory, disk and GPU are meanwhile."""
        monitor = self._machine_monitor() if is_first() else None
        if monitor is None:
            yield
            return
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    def _machine_monitor(self) -> SystemMetricsMonitor | None:
        """The tracker's own monitor; None, said, where the tracker is down."""
        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        try:
            return SystemMetricsMonitor(
                str(self.logger.run_id),
                resume_logging=True,
                tracking_uri=tracking_uri(self._output),
            )
        except TRACKER_ERRORS as error:
            logger.warning("the machine is not watched: %s", first_line(error))
            return None

    def log_missing(self, metrics: Mapping[str, float], step: int) -> None:
        """Log a step that was saved and, before it was logged, killed; nothing if it is there."""
        if not metrics or not is_first():
            return
        try:
            client = self.logger.experiment
            history = client.get_metric_history(str(self.logger.run_id), min(metrics))
        except TRACKER_ERRORS:
            history = []
        if all(entry.step != step for entry in history):
            self.logger.log_metrics(metrics, step)

    def _noted(self) -> str | None:
        file = self.directory / RUN_ID_NAME
        return file.read_text(encoding="utf-8").strip() if file.is_file() else None

    def _note(self, run_id: str) -> None:
        """Note which run it is."""
        if not is_first():
            return
        self.run_id = run_id
        temporary = self.directory / f".{RUN_ID_NAME}"
        temporary.write_text(f"{self.run_id}\n", encoding="utf-8")
        os.replace(temporary, self.directory / RUN_ID_NAME)


def deliver_spool(stage: Namespace, directory: Path) -> None:
    """Sends what waits for the tracker since a finished stage's end, and ends its run there."""
    if (directory / SPOOL_NAME).is_file():
        run = TrackedRun(
            Path(stage.output), directory, experiment=stage.experiment, name=stage.name, tags={}
        )
        run.logger.close()
