"""A finished run as the tracker gives it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from experiments.tracking import RunRow


def finished_run(
    run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str] | None = None
) -> RunRow:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    return RunRow(run_id, run_id, "FINISHED", started, dict(metrics), {}, dict(tags or {}))
