"""`python -m experiments.study`: run a table of the paper and report it.

What is run is planned in `reporting/plan.py`; a study is a YAML in `configs/studies`.
"""

import logging
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from experiments.cli import nearest_names, run_command
from experiments.config import build_objects, check_keys, load_config, parse_typed
from experiments.reporting.plan import Child, Study, Variant, plan_children
from experiments.reporting.publishing import check_page, write_report
from experiments.reporting.publishing import publish as publish_report
from experiments.reporting.report import Results, UsualReport
from experiments.tables import print_table
from experiments.typed_words import Word

if TYPE_CHECKING:
    from experiments.reporting.runs import StudyRun

USUAL_REPORT = "experiments.reporting.report.UsualReport"
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
    wanted = [child] if child else only
    choose(plan_children(table), wanted)  # a wrong name is said before the tracker is opened
    words = [*(word for name in config for word in ("--config", name)), *overrides]
    if publish:
        check_page(publish, table.name)
    # Here, because the tracker takes seconds to import.
    from experiments.reporting.runs import StudyRun

    parent = StudyRun(table)
    children = plan_children(table, parent.elsewhere())
    chosen = choose(children, wanted)
    if list:
        print_left(parent, chosen, words)
        return 0
    failed = {} if report else parent.run(chosen, jobs=jobs, alone=child)
    if not child:
        results = parent.results(children)
        folder = report_results(results, usual, words)
        parent.client.log_artifacts(parent.run_id, str(folder))
        if publish:
            publish_report(folder, publish, table.name)
        is_whole = len(results.found) == len(children)
        if is_whole or not report:  # else others may be running it
            parent.close(is_whole=is_whole)
        print(f"{len(results.found)} of {len(children)} children have finished", flush=True)
    for name, reason in failed.items():
        print(f"child {name}: {reason}")
    return INCOMPLETE_CODE if failed else 0


def read_study(configs: Sequence[str], overrides: Sequence[str]) -> tuple[Study, UsualReport]:
    """The study and what reports it; ValueError, one line, for what the YAML or a word is not.

    A variant that is a word is a folder that is there already; one that is null is left out.
    """
    raw = {"name": Path(configs[0]).stem, "report": USUAL_REPORT, **load_config(configs, overrides)}
    check_keys(raw, [*(field.name for field in fields(Study)), "report"], owner="a study")
    report, variants = raw.pop("report"), raw.get("variants") or {}
    if not isinstance(variants, dict):
        raise ValueError(f"variants: got {variants!r}, expected names and what varies")
    planned = load_config(configs).get("variants")
    for name in [name for name, one in variants.items() if one is None]:
        if isinstance(planned, dict) and name not in planned:
            near = nearest_names(name, planned)
            raise ValueError(f"variants.{name}: got null, expected a variant of the study; {near}")
    given = {name: one for name, one in variants.items() if isinstance(one, dict)}
    existing = {name: one for name, one in variants.items() if isinstance(one, str)}
    raw |= {"variants": given, "existing": existing}
    for name, one in given.items():
        keys = {f"variants.{name}.{key}": value for key, value in one.items()}
        check_keys(keys, [field.name for field in fields(Variant)], owner="a variant")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study, "study")
    parser.add_subclass_arguments(UsualReport, "report")
    if isinstance(report, str):
        report = {"class_path": report}
    try:
        plan = build_objects(parser, parse_typed(parser, {"study": raw, "report": report}, Word))
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
            command = parent.command(child)
            if not child.is_run:  # which must be tracked, too
                command = ["-m", "experiments.study", *words, "--child", child.name]
            print(shlex.join(["python", *command]))


def report_results(results: Results, usual: UsualReport, words: Sequence[str]) -> Path:
    """Write and print what has finished; the folder of the report, which is made anew."""
    report = usual.report(results)
    folder = results.study.folder / "report"
    shutil.rmtree(folder, ignore_errors=True)  # it may have charts that this report has no more
    folder.mkdir(parents=True)
    write_report(report, folder, command=shlex.join(["python", "-m", "experiments.study", *words]))
    for table in report.tables:
        print_table(table.as_table())
    for answer in report.answers:
        print(f"- {answer}")
    print(f"the report is in {folder}")
    return folder


if __name__ == "__main__":
    run_command(study)
