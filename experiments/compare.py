"""`python -m experiments.compare`: the runs of an experiment side by side."""

import math
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.cli import nearest_names, run_command, whole_folder
from experiments.reporting.plan import Study, Variant
from experiments.reporting.publishing import write_report
from experiments.reporting.report import Report, Results, UsualReport, chart, usual_table
from experiments.reporting.rows import paper_tables
from experiments.tables import Table, print_table, to_csv, to_latex, to_markdown

if TYPE_CHECKING:
    from experiments.tracking import RunRow

SIDE_BY_SIDE_RUNS = 6
MACHINE = "system/"  # how busy it was says nothing of a model
FINISHED = "FINISHED"
FIGURES = [  # those of the paper's tables
    *("type_accuracy", "iou_image", "f1_image", "type_accuracy_defective"),
    *("type_accuracy_balanced", "iou_dataset", "pixel_auroc", "pixel_ap", "aupro"),
    *("box_map_50", "latency_ms"),
]
STATED = ("table_5", "table_6")  # the paper's tables that say of which data and setting they are


def compare(
    *,
    experiment: str,
    metric: str = "",
    output: Path = Path("mlruns"),
    paper: bool = False,
    out: Path | None = None,
    format: Literal["rich", "markdown", "csv", "latex"] = "rich",
) -> None:
    """Print the runs of an experiment side by side; few as columns, many or one metric as rows.

    Args:
        experiment: MLflow experiment.
        metric: sort by it, highest first; a name or its last part.
        output: folder of the runs.
        paper: seeds joined, with intervals, and the paper's figures of the same setting and data.
        out: with --paper, a new folder for all formats and charts.
        format: how the table is printed.
    """
    if paper and metric:
        raise ValueError(
            f"--metric {metric} comes with --paper, which has the paper's figures: leave one out"
        )
    if out and not paper:
        raise ValueError("--out writes the paper's table: add --paper")
    from experiments.tracking import read_runs

    runs = read_runs(output, experiment)
    title = f"experiment {experiment}"
    if not runs:
        print(f"experiment {experiment!r} has no runs yet")
        return
    if paper:
        report = paper_report(title, runs)
        table = report.tables[0].as_table()
        if out:
            words = ["--experiment", experiment, "--output", str(output), "--paper"]
            command = shlex.join(["python", "-m", "experiments.compare", *words])
            with whole_folder(out, entries=(), overwrite=False) as folder:
                write_report(report, folder, command=command)
    else:
        table = table_of(title, runs, metric)
    if format == "rich":
        print_table(table)
    else:
        write = {"markdown": to_markdown, "csv": to_csv, "latex": to_latex}[format]
        print(write(table).rstrip("\n"))


def table_of(title: str, runs: "Sequence[RunRow]", metric: str) -> Table:
    """The runs as columns, or many runs, or those of one metric, as rows.

    Test metrics come first. Raises ValueError for a metric that no run has.
    """
    names = {name for run in runs for name in run.metrics if not name.startswith(MACHINE)}
    metrics = sorted(names, key=lambda name: ("/test/" not in name, name))
    if metric:
        found = [name for name in metrics if name == metric or name.endswith(f"/{metric}")]
        if not found:
            raise ValueError(f"metric {metric!r} is in no run; {nearest_names(metric, metrics)}")
        metrics = found
        figures = [run.metrics.get(found[0], math.nan) for run in runs]
        heights = [-math.inf if math.isnan(one) else one for one in figures]
        runs = [runs[place] for place in sorted(range(len(runs)), key=lambda k: -heights[k])]
    rows = [
        (run.name, run.status, f"{run.started:%Y-%m-%d %H:%M}", *map(run.metrics.get, metrics))
        for run in runs
    ]
    columns = ("run", "status", "started", *metrics)
    if not metric and len(runs) <= SIDE_BY_SIDE_RUNS:
        columns, *rows = zip(columns, *rows, strict=True)
        columns = ("metric", *columns[1:])
    return Table(title, columns, tuple(rows))


def paper_report(title: str, runs: "Sequence[RunRow]") -> Report:
    """A row per figure and finished runs of one name, setting, data and scale, and a chart of each.

    Of one seed the newest counts. Below them stand the paper's rows of any setting and data that a
    run has too.
    """
    variants: dict[str, Variant] = {}
    seeds: defaultdict[str, dict[str, RunRow]] = defaultdict(dict)
    for run in runs:  # oldest first
        if run.status == FINISHED:
            seed = run.tags.get("seed", run.run_id)
            name = run.name.removesuffix(f"_s{seed}")
            said = [run.tags.get(tag, "") for tag in ("setting", "dataset", "scale")]
            group = " ".join(filter(None, [name, *said]))
            variants[group] = Variant(labels={"run": name})
            seeds[group][seed] = run
    found = {
        (name, place): run
        for name, group in seeds.items()
        for place, run in enumerate(group.values())
    }
    study = Study("compared", variants, FIGURES, title=title, columns=["run"])
    results = Results(study, found)
    rows = [row for row in UsualReport().rows(results) if row.ours]
    papers = [
        replace(row, labels={"run": f"{row.paper.source}, {' to '.join(row.labels.values())}"})
        for table in STATED
        for row in paper_tables()[table]
        if row.paper and any(row.paper.fits(one.setting, one.data) for one in rows)
    ]
    charts = {figure: chart(results, figure) for figure in dict.fromkeys(r.figure for r in rows)}
    return Report([usual_table(study, [*rows, *papers])], charts)


if __name__ == "__main__":
    run_command(compare)
