"""Run a table of the paper: `python -m experiments.study --config studies/NAME.yaml [--a.b value]`.

A study is a parent run in the tracker, its children are runs of `experiments.run`. What has
finished is not run again and what broke is gone on with, so that the same command ends it. What
the tables are is in `studies/`, how children are run in `comparing/`.
"""

import argparse
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console

from experiments.command import run_command
from experiments.comparing.child_runs import (
    FAILED,
    Outcome,
    put_aside,
    run_children,
    run_process,
)
from experiments.comparing.published import publish
from experiments.comparing.study_files import StudyFolder
from experiments.comparing.study_plan import (
    RUN,
    Child,
    Study,
    command_of,
    plan_children,
    shown_command,
)
from experiments.comparing.tracked_children import StudyRun
from experiments.configuration import build_objects, load_layers
from experiments.configuration_errors import check_base, check_keys, check_nodes, typed_error_line
from experiments.tables import print_table

STUDY_KEYS = ("name", "study", "base", "settings", "seeds", "output", "threads")
INCOMPLETE_CODE = 1


def main(argv: list[str] | None = None) -> int:
    """Runs what is left of a study and reports; 1 where a child has failed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    arguments, overrides = command_parser().parse_known_args(argv)
    if not arguments.config:
        raise ValueError("no study was given: expected --config studies/NAME.yaml")
    if arguments.jobs < 1:
        raise ValueError(f"--jobs is {arguments.jobs}: expected 1 or more")
    plan = parse_study(arguments.config, overrides)
    children = children_of(plan)
    chosen = choose(children, arguments.only)
    words = [word for config in arguments.config for word in ("--config", config)] + overrides
    output = Path(plan.output)
    parent = StudyRun(output, plan.name)
    if arguments.list:
        for child in chosen:
            print(shown_command(child, plan.name, parent.run_id, words=words))
        return 0
    folder = StudyFolder(output, plan.name)
    console = Console()
    failed: dict[str, Outcome] = {}
    if not arguments.report:
        with folder.held() as lock:
            parent.open()
            failed = run_missing(chosen, parent, folder, plan, jobs=arguments.jobs, lock=lock)
    results = parent.results(children)
    report = plan.study.report(results)
    folder.write(report, command=shlex.join(["python", "-m", "experiments.study", *words]))
    parent.log_folder(folder.path / folder.REPORT)
    if arguments.publish:
        publish(folder.path / folder.REPORT, Path(arguments.publish), plan.name)
    parent.close(is_whole=len(results.found) == len(children))
    for table in report.tables:
        print_table(table.as_table())
    for answer in report.answers:
        console.print(f"- {answer}", soft_wrap=True)
    for name, outcome in failed.items():
        console.print(f"child {name}: {outcome.status}: {outcome.reason}", soft_wrap=True)
    console.print(
        f"{len(results.found)} of {len(children)} children have finished; the report is in "
        f"{folder.path / folder.REPORT}",
        soft_wrap=True,
    )
    return INCOMPLETE_CODE if failed else 0


def command_parser() -> argparse.ArgumentParser:
    """The words of the command itself; everything else is an override of the study's YAML."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.study", allow_abbrev=False, description=__doc__
    )
    parser.add_argument("--config", action="append", metavar="YAML", help="may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="children that run at once")
    parser.add_argument(
        "--list", action="store_true", help="print each child as a command, and run none"
    )
    parser.add_argument("--only", action="append", metavar="CHILD", help="run these children alone")
    parser.add_argument("--report", action="store_true", help="run none, report what has finished")
    parser.add_argument("--publish", metavar="PAGE", help="also write the report into a .md page")
    return parser


def study_parser() -> ArgumentParser:
    """The typed parser of a study's YAML."""
    parser = ArgumentParser(exit_on_error=False, description="A study.")
    add = parser.add_argument
    add("--name", type=str, required=True, help="of the parent run and its experiment")
    parser.add_subclass_arguments(Study, "study", required=True)
    add("--base", type=list[str], default=[], help="configs that every child rests on")
    add("--settings", type=dict, default={}, help="over the base, for every child")
    add("--seeds", type=list[int], default=[0], help="every variant under each")
    add("--output", type=str, default="mlruns", help="folder of runs, studies and tracking")
    add("--threads", type=int, default=0, help="that a child computes with, 0 for its own choice")
    return parser


def parse_study(configs: Sequence[str], overrides: Sequence[str]) -> Namespace:
    """The study with its object; ValueError, one line, for what the YAML or a word is not."""
    raw = load_layers(configs, overrides)
    raw.setdefault("name", Path(configs[0]).stem)
    check_keys("", raw, STUDY_KEYS, owner="a study")
    check_base("study", raw.get("study"), Study)
    check_nodes("", {"study": raw["study"]})
    try:
        parsed = study_parser().parse_object(raw)
    except ArgumentError as error:
        raise ValueError(typed_error_line("", raw, str(error))) from error
    plan = build_objects(study_parser(), parsed)
    if Path(plan.name).name != plan.name or plan.name in (".", ".."):
        raise ValueError(f"name is {plan.name!r}: expected one word without folders")
    if all(variant.is_stage1 for variant in plan.study.variants()):
        raise ValueError("the study compares nothing: expected at least one variant in init_args")
    if not plan.seeds:
        raise ValueError("seeds is empty: expected at least one number, such as [0]")
    return plan


def children_of(plan: Namespace) -> list[Child]:
    """All children of the study."""
    return plan_children(
        plan.study,
        name=plan.name,
        base=plan.base,
        settings=dotted(plan.settings),
        seeds=plan.seeds,
        output=plan.output,
    )


def dotted(settings: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings with dotted keys."""
    flat: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def choose(children: Sequence[Child], names: Sequence[str] | None) -> list[Child]:
    """The children of these names, with what they need; all where none is named."""
    if not names:
        return list(children)
    known = {child.name: child for child in children}
    unknown = sorted(set(names) - known.keys())
    if unknown:
        raise ValueError(
            f"--only {unknown[0]}: the study has no such child; expected one of {', '.join(known)}"
        )
    wanted, waiting = set(names), list(names)
    while waiting:
        needs = set(known[waiting.pop()].needs) - wanted
        wanted |= needs
        waiting += needs
    return [child for child in children if child.name in wanted]


def run_missing(
    children: Sequence[Child],
    parent: StudyRun,
    folder: StudyFolder,
    plan: Namespace,
    *,
    jobs: int,
    lock: int,
) -> dict[str, Outcome]:
    """Runs the children that have not finished; those that failed or could not begin, by name."""
    found = parent.results(children).found
    finished = {child.name for child in children if (child.variant, child.seed) in found}
    console = Console()
    console.print(f"{len(finished)} of {len(children)} children had finished before")

    def run(child: Child) -> Outcome:
        words = command_of(child, plan.name, parent.run_id)
        log = folder.log_of(child.name)
        if child.module == RUN:
            put_aside(Path(child.folder), child.sha256)
        else:
            Path(child.folder).mkdir(parents=True, exist_ok=True)
        ended = run_process(words, log, threads=plan.threads, held=lock)
        if child.module != RUN and ended.status != FAILED:
            if child.results and not Path(child.results).is_file():
                return Outcome(FAILED, f"it left no {child.results}; see {log}")
            parent.track(child)
        if ended.status != FAILED and not parent.results([child]).found:
            return Outcome(FAILED, f"it stopped before its end; see {log}")
        return ended

    def tell(child: Child, outcome: Outcome) -> None:
        console.print(f"child {child.name}: {outcome.status}", soft_wrap=True)

    outcomes = run_children(children, finished, run, jobs=jobs, tell=tell)
    return {name: outcome for name, outcome in outcomes.items() if outcome.reason}


if __name__ == "__main__":
    run_command(main)
