"""A study in the tracker: its parent run, and the children that have finished under any machine."""

import json
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from mlflow.tracking import MlflowClient

from experiments.reporting.plan import CHILD_TAG, COMMAND_TAG, STUDY_TAG, Child, Study
from experiments.reporting.usual_report import ChildResult, Results
from experiments.run_logger import RunLogger
from experiments.tracking import RunRow, initialise_tracking, read_runs

logger = logging.getLogger(__name__)

ROLE_TAG, PARENT_ROLE = "role", "study"
FINISHED = "FINISHED"


class StudyRun:
    """The parent run of a study: the newest that the tracker has, or a new one."""

    def __init__(self, study: Study) -> None:
        self.study, self.output, self.name = study, Path(study.output), study.name
        self.client = MlflowClient(initialise_tracking(self.output))
        parents = [run for run in self._rows() if run.tags.get(ROLE_TAG) == PARENT_ROLE]
        if parents:
            self.run_id = parents[-1].run_id
        else:
            tags = {STUDY_TAG: self.name, ROLE_TAG: PARENT_ROLE}
            self.run_id = str(RunLogger(self.output, self.name, self.name, tags).run_id)

    def open(self) -> None:
        """The run runs, again perhaps."""
        self.client.update_run(self.run_id, status="RUNNING")

    def close(self, *, is_whole: bool) -> None:
        """The run has ended, whole or with children that are missing."""
        self.client.set_terminated(self.run_id, status=FINISHED if is_whole else "FAILED")

    def results(self, children: Sequence[Child]) -> Results:
        """What the children left that have finished, with the words that they have now.

        Of one that finished several times the newest counts; one whose words have changed since
        is said, and counts as not run.
        """
        wanted = {child.name: child for child in children}
        found: dict[tuple[str, int], ChildResult] = {}
        for row in self._rows():
            child = wanted.get(row.tags.get(CHILD_TAG, ""))
            if child is None or row.status != FINISHED:
                continue
            if row.tags.get(COMMAND_TAG) != child.sha256:
                logger.warning(
                    "child %s: run %s had other words and does not count", child.name, row.run_id
                )
                continue
            result = ChildResult(row.run_id, row.metrics, row.tags)
            found[child.variant, child.seed] = result
        return Results(found)

    def finished(self, children: Sequence[Child]) -> set[str]:
        """The names of the children that have finished."""
        found = self.results(children).found
        return {child.name for child in children if (child.variant, child.seed) in found}

    def track(self, child: Child) -> None:
        """Tracks a child that is no run: its tags, its words, and the numbers that it left, if any.

        Raises FileNotFoundError where it left none.
        """
        tags = {"stage": child.module, "seed": str(child.seed)}
        tags |= child.all_tags(self.name, self.run_id)
        numbers = {}
        if child.results:
            numbers = flat_numbers(json.loads(Path(child.results).read_text(encoding="utf-8")))
        tracked = RunLogger(self.output, self.name, child.name, tags)
        tracked.log_hyperparams({"command": shlex.join([child.module, *child.words])})
        tracked.log_metrics(numbers)
        tracked.close()

    def log_folder(self, folder: Path) -> None:
        """Hands the files of a folder to the tracker as the parent's artifacts."""
        self.client.log_artifacts(self.run_id, str(folder))

    def _rows(self) -> list[RunRow]:
        """The runs of this study, oldest first."""
        if self.client.get_experiment_by_name(self.name) is None:
            return []
        return [
            row for row in read_runs(self.output, self.name) if row.tags.get(STUDY_TAG) == self.name
        ]


def flat_numbers(value: object, prefix: str = "") -> dict[str, float]:
    """The numbers of a JSON file by their path; an item of a list by its `name`, or its place."""
    if isinstance(value, bool):
        return {}
    if isinstance(value, int | float):
        return {prefix: float(value)}
    pairs: list[tuple[object, object]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [
            (inner.get("name", place) if isinstance(inner, dict) else place, inner)
            for place, inner in enumerate(value)
        ]
    return {
        path: number
        for key, inner in pairs
        for path, number in flat_numbers(inner, f"{prefix}/{key}".strip("/")).items()
    }
