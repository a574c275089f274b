"""Claims about the shape of the code: three floors, no arrow back up, no circle, small files."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("callbacks", "datamodules", "experiments", "lightning_modules")
STAGE_IMPORTS = (
    "lightning_modules.nets",
    "lightning_modules.equations",
    "lightning_modules.metrics",
    "lightning_modules.optimizers",
    # What stages and baselines share; a stage is never one of these.
    "lightning_modules.evaluation",
    "lightning_modules.known_weights",
    "lightning_modules.weights_io",
    "lightning_modules.supervision",
    "lightning_modules.segmentation_module",
    "lightning_modules.anomaly_module",
    "datamodules.language.noun_phrases",
    "datamodules.sample",
    "datamodules.vocabulary",
)
# Folder -> what its files may import of ours; the longest folder that fits decides.
ALLOWED = {
    "datamodules": ("datamodules",),
    "lightning_modules/equations": ("lightning_modules.equations",),
    "lightning_modules/nets": (
        "lightning_modules.nets",
        "lightning_modules.equations",
        "lightning_modules.known_weights",
        "lightning_modules.weights_io",
        "datamodules.sample",
    ),
    "lightning_modules/metrics": ("lightning_modules.metrics", "datamodules.sample"),
    "lightning_modules/baselines": STAGE_IMPORTS,
    "lightning_modules": STAGE_IMPORTS,
    "callbacks": ("callbacks", "datamodules.sample", "datamodules.whole_files"),
    "experiments/studies": ("experiments.reporting", "experiments.tables"),
    "experiments": PACKAGES,
}
HOMELESS_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core"}
FORBIDDEN_PACKAGES = {"ultralytics", "odise"}
FILE_LINES = 400
FUNCTION_LINES = 50
MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:work|root|home|Users)/\w")

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    """The path in the repository."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names that the file imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = any(
                    (ROOT / inner.replace(".", "/")).with_suffix(s).exists() for s in ("", ".py")
                )
                yield inner if is_module else str(node.module)


def ours(names: Iterator[str]) -> set[str]:
    """Those of the names that are our packages."""
    return {name for name in names if name.split(".")[0] in PACKAGES}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_never_point_up(path: Path) -> None:
    folder = max((f for f in ALLOWED if name_of(path).startswith(f"{f}/")), key=len)
    allowed = ALLOWED[folder]
    wrong = [
        name
        for name in ours(imports_of(path))
        if not any(name == door or name.startswith(f"{door}.") for door in allowed)
    ]
    assert not wrong, f"{name_of(path)} may import {allowed}"


def test_imports_form_no_circle() -> None:
    arrows = {module_of(path): ours(imports_of(path)) for path in SOURCES}
    left = {module: {name for name in names if name in arrows} for module, names in arrows.items()}
    while True:
        free = {module for module, names in left.items() if not names & left.keys()}
        if not free:
            break
        left = {module: names for module, names in left.items() if module not in free}
    assert not left


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=name_of)
def test_package_files_export_nothing(path: Path) -> None:
    assert not ours(imports_of(path))


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_file_is_short_and_has_a_name_of_its_own(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= FILE_LINES
    assert path.stem not in HOMELESS_NAMES


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_functions_are_short(path: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    # A command's signature and docstring are its command line: only its body counts.
    first = {
        node: node.body[1].lineno if node.name == path.stem else node.lineno for node in functions
    }
    long = {
        node.name: lines
        for node in functions
        if node.end_lineno and (lines := node.end_lineno - first[node] + 1) > FUNCTION_LINES
    }
    assert not long


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_no_package_of_a_forbidden_licence_is_imported(path: Path) -> None:
    assert not {name.split(".")[0].lower() for name in imports_of(path)} & FORBIDDEN_PACKAGES


def test_tests_have_no_package_files() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_nothing_that_a_run_leaves_is_kept() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no checkout that git reads")
    names = [name for name in listed.stdout.split("\0") if name]
    known = {"docs", "mlruns", "notebooks", "tests", ".ci", ".github", *PACKAGES}
    assert {name.split("/")[0] for name in names if "/" in name} <= known
    assert {Path(name).name for name in names}.isdisjoint({"thresholds.json", "mlflow.db"})


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    kinds = ("*.py", "*.yaml", "*.md", "*.toml", "*.ipynb", "*.cff")
    folders = [ROOT / name for name in (*PACKAGES, "tests", "notebooks", ".ci")]
    files = [path for folder in folders for kind in kinds for path in folder.rglob(kind)]
    files += [
        path
        for path in ROOT.iterdir()
        if path.is_file() and path.suffix != ".png" and path.name != ".git"
    ]
    files.append(ROOT / "mlruns/README.md")
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in files}
    assert not [name for name, text in texts.items() if MACHINE_PATH.search(text)]
