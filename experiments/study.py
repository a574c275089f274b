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

from experiments.command import error_line, is_user_error, run_command
from experiments.comparing.child_runs import (
    FAILED,
    Outcome,
    put_aside,
    run_children,
    run_process,
)
from experiments.comparing.published import check_page, publish
from experiments.comparing.study_files import StudyFolder
from experiments.comparing.study_plan import (
    RUN,
    Child,
    Results,
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
    if arguments.child and (arguments.only or arguments.list or arguments.report):
        raise ValueError("--child runs one child alone: leave --only, --list and --report out")
    if arguments.child and arguments.publish:
        raise ValueError("--child reports nothing to publish: give --publish with --report later")
    plan = parse_study(arguments.config, overrides)
    children = children_of(plan)
    chosen = choose(children, [arguments.child] if arguments.child else arguments.only)
    words = [word for config in arguments.config for word in ("--config", config)] + overrides
    if arguments.publish:
        check_page(Path(arguments.publish), plan.name)
    folder = StudyFolder(Path(plan.output), plan.name)
    parent = StudyRun(Path(plan.output), plan.name)
    finished = names_finished(chosen, parent)
    if arguments.list:
        for child in chosen:
            if child.name not in finished:
                print(shown_command(child, plan.name, parent.run_id, words=words))
        return 0
    if arguments.child:
        check_needs(chosen, arguments.child, finished)
    failed: dict[str, Outcome] = {}
    if not arguments.report:
        with folder.held(shared=bool(arguments.child)) as lock:
            parent.open()
            failed = run_missing(chosen, parent, folder, plan, jobs=arguments.jobs, lock=lock)
    if not arguments.child:
        command = shlex.join(["python", "-m", "experiments.study", *words])
        results = parent.results(children)
        tell_report(plan, results, parent, folder, command=command, page=arguments.publish)
        is_whole = len(results.found) == len(children)
        if is_whole or not arguments.report:  # others may be running it
            parent.close(is_whole=is_whole)
        print(f"{len(results.found)} of {len(children)} children have finished")
    for name, outcome in failed.items():
        Console().print(f"child {name}: {outcome.status}: {outcome.reason}", soft_wrap=True)
    return INCOMPLETE_CODE if failed else 0


def tell_report(
    plan: Namespace,
    results: Results,
    parent: StudyRun,
    folder: StudyFolder,
    *,
    command: str,
    page: str | None,
) -> None:
    """Writes, tracks and prints what has finished so far; page: to publish it in, if any."""
    report = plan.study.report(results)
    made = folder.write(report, command=command)
    parent.log_folder(made)
    if page:
        publish(made, Path(page), plan.name)
    for table in report.tables:
        print_table(table.as_table())
    console = Console()
    for answer in report.answers:
        console.print(f"- {answer}", soft_wrap=True)
    console.print(f"the report is in {made}", soft_wrap=True)


def command_parser() -> argparse.ArgumentParser:
    """The words of the command itself; everything else is an override of the study's YAML."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.study", allow_abbrev=False, description=__doc__
    )
    parser.add_argument("--config", action="append", metavar="YAML", help="may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="children that run at once")
    parser.add_argument(
        "--list", action="store_true", help="print each child that is left as a command, run none"
    )
    parser.add_argument(
        "--only", action="append", metavar="CHILD", help="run these children and what they need"
    )
    parser.add_argument(
        "--child", metavar="CHILD", help="run this one, report nothing; what it needs has finished"
    )
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
    if not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        raise ValueError(f"seeds is {plan.seeds}: expected one number or several, each once")
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
            f"the study has no child {unknown[0]!r}: expected one of {', '.join(known)}"
        )
    wanted, waiting = set(names), list(names)
    while waiting:
        needs = set(known[waiting.pop()].needs) - wanted
        wanted |= needs
        waiting += needs
    return [child for child in children if child.name in wanted]


def check_needs(chosen: Sequence[Child], name: str, finished: set[str]) -> None:
    """ValueError where the child of this name needs one that has not finished."""
    missing = [child.name for child in chosen if child.name not in finished | {name}]
    if missing:
        raise ValueError(
            f"--child {name} needs {missing[0]}, which has not finished: run that one first"
        )


def names_finished(children: Sequence[Child], parent: StudyRun) -> set[str]:
    """The names of the children that have finished."""
    found = parent.results(children).found
    return {child.name for child in children if (child.variant, child.seed) in found}


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
    finished = names_finished(children, parent)
    console = Console()
    console.print(f"{len(finished)} of {len(children)} children had finished before")

    def run(child: Child) -> Outcome:
        try:
            return run_and_track(child)
        except Exception as error:
            if not is_user_error(error):
                raise
            return Outcome(FAILED, error_line(error))

    def run_and_track(child: Child) -> Outcome:
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
