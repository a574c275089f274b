"""`python -m experiments.study`: run a table of the paper and report it.

What is run is planned in `reporting/plan.py`; a study is a YAML in `configs/studies`.
"""

import logging
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from experiments.cli import error_line, is_user_error, run_command
from experiments.config import build_objects, check_keys, load_config, parse_typed
from experiments.reporting.children import (
    FAILED,
    Outcome,
    put_aside,
    run_children,
    run_process,
    study_lock,
)
from experiments.reporting.plan import Child, Study, Variant, plan_children
from experiments.reporting.publishing import check_page, publish, write_report
from experiments.reporting.usual_report import UsualReport
from experiments.tables import print_table

if TYPE_CHECKING:
    from experiments.reporting.study_run import StudyRun

USUAL_REPORT = "experiments.reporting.usual_report.UsualReport"
INCOMPLETE_CODE = 1


def study(
    *overrides: str,
    config: list[str],
    jobs: int = 1,
    list: bool = False,
    only: "list[str] | None" = None,
    child: str = "",
    report: bool = False,
    publish: Path | None = None,
) -> int:
    """Run a table of the paper: every variant under every seed, as child runs of one parent.

    What has finished is not run again and what broke is gone on with, so that the same command
    ends it. `--key value` sets any key of the study, such as `--seeds "[0]"`. Exit code 1 where a
    child has failed.

    Args:
        config: the study's YAML, studies/NAME.yaml; further ones are laid over it.
        jobs: children that run at once.
        list: print each child that is left as a command, run none.
        only: run these children and what they need.
        child: run this one, report nothing; what it needs has finished.
        report: run none, report what has finished.
        publish: also write the report beside this .md page and name it there.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}: expected 1 or more")
    if child and (only or list or report or publish):
        raise ValueError(
            "--child runs one child alone and reports nothing: leave --only, --list, --report and "
            "--publish out"
        )
    table, usual = read_study(config, overrides)
    chosen = choose(plan_children(table), [child] if child else only)
    words = [*(word for name in config for word in ("--config", name)), *overrides]
    if publish:
        check_page(publish, table.name)
    # Here, because the tracker takes seconds to import.
    from experiments.reporting.study_run import StudyRun

    parent = StudyRun(table)
    if list:
        print_left(parent, chosen, words)
        return 0
    failed = {} if report else run_missing(parent, chosen, jobs=jobs, alone=child)
    if not child:
        tell(parent, usual, words, page=publish, has_run=not report)
    for name, outcome in failed.items():
        print(f"child {name}: {outcome.status}: {outcome.reason}")
    return INCOMPLETE_CODE if failed else 0


def read_study(configs: Sequence[str], overrides: Sequence[str]) -> tuple[Study, UsualReport]:
    """The study and what reports it; ValueError, one line, for what the YAML or a word is not.

    A variant that is a word is a folder that is there already; one that is null is left out.
    """
    raw = load_config(configs, overrides)
    known = {field.name for field in fields(Study)}
    check_keys(raw, [*known, "report"], owner="a study")
    report = raw.pop("report", USUAL_REPORT)
    variants = raw.get("variants") or {}
    if not isinstance(variants, dict):
        raise ValueError(f"variants: got {variants!r}, expected names and what varies")
    existing = {name: one for name, one in variants.items() if isinstance(one, str)}
    given = {name: one for name, one in variants.items() if isinstance(one, dict)}
    for name, one in given.items():
        keys = {f"variants.{name}.{key}": value for key, value in one.items()}
        check_keys(keys, [field.name for field in fields(Variant)], owner="a variant")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study, "study")
    parser.add_subclass_arguments(UsualReport, "report")
    named = {"name": Path(configs[0]).stem, **raw, "variants": given, "existing": existing}
    told = {"class_path": report} if isinstance(report, str) else report
    try:
        plan = build_objects(parser, parse_typed(parser, {"study": named, "report": told}))
    except ValueError as error:
        raise ValueError(str(error).removeprefix("study.")) from error
    if not plan.study.labels:
        raise ValueError("the study compares nothing: expected a variant that is no stage 1")
    return plan.study, plan.report


def choose(children: Sequence[Child], names: Sequence[str] | None) -> list[Child]:
    """The children of these names, with what they need; all where none is named."""
    known = {child.name: child for child in children}
    if unknown := sorted({*(names or ())} - known.keys()):
        raise ValueError(
            f"the study has no child {unknown[0]!r}: expected one of {', '.join(known)}"
        )
    wanted = {*(names or known)}
    for child in reversed(children):  # what is needed is planned before
        if child.name in wanted:
            wanted |= {*child.needs}
    return [child for child in children if child.name in wanted]


def print_left(parent: "StudyRun", children: Sequence[Child], words: Sequence[str]) -> None:
    """Print each child that has not finished as a command; words: those of the study."""
    finished = parent.finished(children)
    for child in children:
        if child.name not in finished:
            command = child.command(parent.name, parent.run_id)
            if not child.is_run:  # which must be tracked, too
                command = ["-m", "experiments.study", *words, "--child", child.name]
            print(shlex.join(["python", *command]))


def run_missing(
    parent: "StudyRun", children: Sequence[Child], *, jobs: int, alone: str
) -> dict[str, Outcome]:
    """Run the children that have not finished; those that failed or could not begin, by name.

    alone: the one child to run beside others that do the same, "" for all; ValueError where one
    that it needs has not finished.
    """

    def on_end(child: Child, outcome: Outcome) -> None:
        print(f"child {child.name}: {outcome.status}", flush=True)

    if alone:
        missing = {child.name for child in children} - parent.finished(children) - {alone}
        if missing:
            raise ValueError(
                f"--child {alone} needs {min(missing)}, which has not finished: run that one first"
            )
    with study_lock(parent.study.folder, shared=bool(alone)) as lock:
        parent.open()
        finished = parent.finished(children)
        print(f"{len(finished)} of {len(children)} children had finished before", flush=True)
        run = partial(run_one, parent=parent, lock=lock)
        outcomes = run_children(children, finished, run, jobs=jobs, on_end=on_end)
    return {name: outcome for name, outcome in outcomes.items() if outcome.reason}


def run_one(child: Child, *, parent: "StudyRun", lock: int) -> Outcome:
    """Run a child and track it if it doesn't itself; how it ended."""
    log = parent.study.folder / "logs" / f"{child.name}.log"
    try:
        if child.is_run:
            put_aside(Path(child.folder), child.sha256)
        else:
            Path(child.folder).mkdir(parents=True, exist_ok=True)
        words = child.command(parent.name, parent.run_id)
        ended = run_process(words, log, threads=parent.study.threads, held=lock)
        if ended.status == FAILED:
            return ended
        if not child.is_run:
            if child.results and not Path(child.results).is_file():
                return Outcome(FAILED, f"it left no {child.results}; see {log}")
            parent.track(child)
        if not parent.finished([child]):
            return Outcome(FAILED, f"it stopped before its end; see {log}")
        return ended
    except Exception as error:
        if not is_user_error(error):
            raise
        return Outcome(FAILED, error_line(error))


def tell(
    parent: "StudyRun",
    usual: UsualReport,
    words: Sequence[str],
    *,
    page: Path | None,
    has_run: bool,
) -> None:
    """Write, track and print what has finished; page: to publish it in, if any."""
    children = plan_children(parent.study)
    results = parent.results(children)
    report = usual.report(parent.study, results)
    folder = parent.study.folder / "report"
    shutil.rmtree(folder, ignore_errors=True)  # it may have charts that this report has no more
    folder.mkdir(parents=True)
    write_report(report, folder, command=shlex.join(["python", "-m", "experiments.study", *words]))
    parent.log_folder(folder)
    if page:
        publish(folder, page, parent.name)
    for one in report.tables:
        print_table(one.as_table())
    for answer in report.answers:
        print(f"- {answer}")
    is_whole = len(results.found) == len(children)
    if is_whole or has_run:  # without, others may be running it
        parent.close(is_whole=is_whole)
    print(f"the report is in {folder}")
    print(f"{len(results.found)} of {len(children)} children have finished", flush=True)


if __name__ == "__main__":
    run_command(study)
