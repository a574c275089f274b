"""`audit`: what is wrong with a prepared data set, in figures, words and pictures.

    python -m experiments.audit --manifest DATA/manifest.parquet --out AUDIT
    python -m experiments.audit --release CSV_FOLDER --out AUDIT

Alike pictures, leaks, labels that disagree, noise in captions, the long tail; with --second the
agreement of two annotators. AUDIT gets audit.md, audit.html, audit.json and findings.csv.
Exit code 1 where --fail_on names a kind that was found, for use in CI.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console

from datamodules.manifest import Manifest
from experiments.audits.annotators import audit_agreement
from experiments.audits.captions import (
    audit_manifest_captions,
    audit_release,
    load_token_limit,
)
from experiments.audits.findings import Section
from experiments.audits.page import to_page
from experiments.audits.pictures import audit_pictures
from experiments.audits.report import (
    figures_table,
    kinds_of,
    to_text,
    write_figures,
    write_findings,
)
from experiments.audits.tail import audit_tail
from experiments.cli import check_is_free, whole_folder
from experiments.command import run_command
from experiments.prepare import progress_bar
from experiments.tables import to_rich

ENTRIES = ("audit.md", "audit.html", "audit.json", "findings.csv")


def main(argv: list[str] | None = None) -> int:
    """Print the figures and write the report; 1 where a kind of --fail_on was found, else 0."""
    settings = _parse(sys.argv[1:] if argv is None else argv)
    console = Console()
    if settings.out:
        check_is_free(Path(settings.out), entries=ENTRIES, overwrite=settings.overwrite)
    title, root, sections = gather(settings, console)
    for section in sections:
        console.print(to_rich(figures_table(section)))
    if settings.out:
        folder = Path(settings.out)
        with whole_folder(folder, entries=ENTRIES, overwrite=settings.overwrite) as unfinished:
            write_report(unfinished, title, sections, root)
        console.print(f"report    {folder / 'audit.html'}", soft_wrap=True, highlight=False)
    found = kinds_of(sections)
    failing = {kind: found[kind] for kind in settings.fail_on if found[kind]}
    for kind, count in failing.items():
        console.print(f"fails     {count} x {kind}", highlight=False)
    return 1 if failing else 0


def gather(settings: Namespace, console: Console) -> tuple[str, Path | None, list[Section]]:
    """Title, folder of the pictures (None without any) and sections of what was asked for."""
    tokens = load_token_limit(settings.tokenizer)
    if settings.release:
        folder = Path(settings.release)
        return folder.name, None, [audit_release(folder, tokens)]
    manifest = Manifest.open(settings.manifest, settings.root or None)
    with progress_bar(console) as progress:
        pictures = audit_pictures(manifest, workers=settings.workers, progress=progress)
    sections = [pictures, audit_manifest_captions(manifest, tokens), audit_tail(manifest)]
    if settings.second:
        sections.append(audit_agreement(manifest, Manifest.open(settings.second)))
    return manifest.source, manifest.root, sections


def write_report(folder: Path, title: str, sections: Sequence[Section], root: Path | None) -> None:
    """All four files of a report in `folder`."""
    (folder / "audit.md").write_text(to_text(title, sections), encoding="utf-8")
    (folder / "audit.html").write_text(to_page(title, sections, root), encoding="utf-8")
    write_figures(folder / "audit.json", sections)
    write_findings(folder / "findings.csv", sections)


def _parse(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python -m experiments.audit", exit_on_error=False, description=__doc__
    )
    parser.add_argument("--manifest", type=str, default="", help="manifest.parquet of prepare")
    parser.add_argument("--root", type=str, default="", help="data folder, where it has moved")
    parser.add_argument("--second", type=str, default="", help="a second annotator's manifest")
    parser.add_argument("--release", type=str, default="", help="folder of the release's CSVs")
    parser.add_argument("--tokenizer", type=str, default="", help="hub name or local folder")
    parser.add_argument("--out", type=str, default="", help="folder of the report")
    parser.add_argument("--overwrite", action="store_true", help="replace an older report")
    parser.add_argument("--fail_on", type=list[str], default=[], help="kinds, as [leak, unusable]")
    parser.add_argument("--workers", type=int, default=0, help="0 for one per core")
    try:
        settings = parser.parse_args(list(argv))
    except ArgumentError as error:
        raise ValueError(f"audit: {str(error).splitlines()[0]}; see --help") from error
    if bool(settings.manifest) == bool(settings.release):
        raise ValueError("audit: expected exactly one of --manifest FILE and --release FOLDER")
    return settings


if __name__ == "__main__":
    run_command(main)
