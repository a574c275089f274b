"""`audit`: what is wrong with a prepared data set, in figures, words and images.

    python -m experiments.audit --manifest DATA/manifest.parquet --out AUDIT
    python -m experiments.audit --release CSV_FOLDER --out AUDIT

AUDIT gets audit.md, audit.html, audit.json and findings.csv. Exit code 1 where --fail_on names a
kind that was found, for use in CI.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from experiments.cli import check_is_free, run_command, whole_folder

if TYPE_CHECKING:
    from datamodules.manifest import Manifest
    from experiments.audits.findings import Section

ENTRIES = ("audit.md", "audit.html", "audit.json", "findings.csv")


def audit(
    *,
    manifest: str = "",
    root: str = "",
    second: str = "",
    release: str = "",
    out: Path | None = None,
    overwrite: bool = False,
    fail_on: list[str] | None = None,
    workers: int = 0,
) -> int:
    """Alike images, leaks, labels that disagree, noise in captions, the long tail.

    Args:
        manifest: manifest.parquet of prepare
        root: data folder, where it has moved
        second: a second annotator's manifest, to see how far both agree
        release: folder of the release's CSVs, instead of a manifest
        out: folder of the report
        overwrite: replace an older report
        fail_on: kinds of findings that end with exit code 1, as leak unusable
        workers: processes that look at images, 0 for one per core
    """
    if bool(manifest) == bool(release):
        raise ValueError("audit: expected exactly one of --manifest FILE and --release FOLDER")
    if out:
        check_is_free(out, entries=ENTRIES, overwrite=overwrite)
    from experiments.audits.findings import counts_of, to_text, write_figures, write_findings
    from experiments.audits.page import to_page
    from experiments.tables import to_rich

    console = Console()
    if release:
        from experiments.audits.captions import audit_release

        title, folder, sections = Path(release).name, None, [audit_release(Path(release))]
    else:
        from datamodules.manifest import Manifest

        opened = Manifest.open(manifest, root or None)
        title, folder = opened.source, opened.root
        sections = audit_manifest(opened, second, workers=workers, console=console)
    for section in sections:
        console.print(to_rich(section.figures_table()))
    if out:
        with whole_folder(out, entries=ENTRIES, overwrite=overwrite) as unfinished:
            (unfinished / "audit.md").write_text(to_text(title, sections), "utf-8")
            (unfinished / "audit.html").write_text(to_page(title, sections, folder), "utf-8")
            write_figures(unfinished / "audit.json", sections)
            write_findings(unfinished / "findings.csv", sections)
        console.print(
            f"report    {out / 'audit.html'}", soft_wrap=True, highlight=False, markup=False
        )
    counts = counts_of([finding for section in sections for finding in section.findings])
    failing = [kind for kind in fail_on or [] if kind in counts]
    for kind in failing:
        console.print(f"fails     {counts[kind]:.0f} x {kind}", highlight=False)
    return 1 if failing else 0


def audit_manifest(
    manifest: "Manifest", second: str, *, workers: int, console: Console
) -> "list[Section]":
    """The sections of a manifest's audit; second: another annotator's manifest, or ""."""
    from datamodules.manifest import Manifest
    from experiments.audits.captions import audit_manifest_captions
    from experiments.audits.images import audit_images
    from experiments.audits.labels import audit_agreement, audit_tail
    from experiments.prepare import progress_bar

    with progress_bar(console) as progress:
        sections = [audit_images(manifest, workers=workers, progress=progress)]
    sections += [audit_manifest_captions(manifest), audit_tail(manifest)]
    if second:
        sections.append(audit_agreement(manifest, Manifest.open(second)))
    return sections


if __name__ == "__main__":
    run_command(audit)
