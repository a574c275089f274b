"""`python -m experiments.compare`: the runs of an experiment side by side."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from experiments.command import run_command
from experiments.comparing.charts import bars
from experiments.comparing.compared_runs import paper_table
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_files import write_report
from experiments.configuration_errors import nearest_names
from experiments.output_folder import whole_folder
from experiments.runs import RunRow, read_runs
from experiments.tables import (
    Table,
    list_runs,
    print_table,
    to_csv,
    to_latex,
    to_markdown,
    transpose_runs,
)

SIDE_BY_SIDE_RUNS = 6
FORMATS: dict[str, Callable[[Table], str] | None] = {
    "rich": None,
    "markdown": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
}
MACHINE = "system/"  # how busy it was says nothing of a model


def build_parser() -> ArgumentParser:
    """The command's arguments."""
    parser = ArgumentParser(prog="python -m experiments.compare", description=__doc__)
    parser.add_argument("--experiment", type=str, required=True, help="MLflow experiment")
    parser.add_argument(
        "--metric", type=str, default="", help="sort by it, highest first; a name or its last part"
    )
    parser.add_argument("--output", type=str, default="mlruns", help="folder of the runs")
    parser.add_argument(
        "--paper",
        action="store_true",
        help="seeds joined, with intervals, and the paper's figures of the same setting and data",
    )
    parser.add_argument(
        "--out", type=str, default="", help="with --paper: a new folder for all formats and charts"
    )
    parser.add_argument("--format", type=str, default="rich", help=", ".join(FORMATS))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the comparison; ValueError for an unknown experiment or metric."""
    arguments = build_parser().parse_args(argv)
    if arguments.format not in FORMATS:
        raise ValueError(f"--format is {arguments.format!r}: expected {', '.join(FORMATS)}")
    runs = read_runs(Path(arguments.output), arguments.experiment)
    if not runs:
        print(f"experiment {arguments.experiment!r} has no runs yet")
        return 0
    show(table_of(runs, arguments), arguments.format)
    return 0


def table_of(runs: Sequence[RunRow], arguments: Namespace) -> Table:
    """The runs as the arguments ask for them."""
    title = f"experiment {arguments.experiment}"
    if arguments.paper:
        if arguments.metric:
            raise ValueError(
                f"--metric {arguments.metric} comes with --paper, which has the paper's figures: "
                "leave one of them out"
            )
        table = paper_table(title, runs)
        if arguments.out:
            write_files(table, arguments)
        return table.as_numbers() if arguments.format == "csv" else table.as_table()
    if arguments.out:
        raise ValueError("--out writes the paper's table: add --paper")
    metrics = find_metrics(runs, arguments.metric)
    if arguments.metric:
        runs = sort_runs(runs, metrics[0])
    # Few runs read best as columns; many runs or one metric as rows.
    side_by_side = len(runs) <= SIDE_BY_SIDE_RUNS and not arguments.metric
    build = transpose_runs if side_by_side else list_runs
    return build(title, runs, metrics)


def write_files(table: PaperTable, arguments: Namespace) -> None:
    """The table in every format and a chart of each figure, in a new folder."""
    charts = {
        figure: bars({row.labels["run"]: row.ours for row in rows}, y=figure)
        for figure in dict.fromkeys(row.figure for row in table.rows)
        if (rows := [row for row in table.rows if row.figure == figure and row.ours])
    }
    words = ["--experiment", arguments.experiment, "--output", arguments.output, "--paper"]
    command = shlex.join(["python", "-m", "experiments.compare", *words])
    with whole_folder(Path(arguments.out), entries=(), overwrite=False) as folder:
        write_report(Report((table,), charts), folder, command=command)


def show(table: Table, form: str) -> None:
    """Prints the table."""
    write = FORMATS[form]
    if write is None:
        print_table(table)
    else:
        print(write(table).rstrip("\n"))


def find_metrics(runs: Sequence[RunRow], wanted: str) -> list[str]:
    """All metric names without `wanted`, else those that are it or end in /`wanted`.

    Test metrics come first. Raises ValueError where no run has such a metric.
    """
    names = {name for run in runs for name in run.metrics if not name.startswith(MACHINE)}
    ordered = sorted(names, key=lambda name: ("/test/" not in name, name))
    if not wanted:
        return ordered
    found = [name for name in ordered if name == wanted or name.endswith(f"/{wanted}")]
    if not found:
        raise ValueError(f"metric {wanted!r} is in no run; {nearest_names(wanted, ordered)}")
    return found


def sort_runs(runs: Sequence[RunRow], metric: str) -> list[RunRow]:
    """The runs, the highest metric first, those without it last."""
    lowest = float("-inf")
    return sorted(runs, key=lambda run: run.metrics.get(metric, lowest), reverse=True)


if __name__ == "__main__":
    run_command(main)
