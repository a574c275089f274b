"""Claims about the project's own files: the lock, the distribution, what lies in the root."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK_LINES = [
    line
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
LOCKED = {
    re.sub(r"[-_.]+", "-", name).lower(): version
    for name, version in re.findall(r"^([\w.-]+)==([^;\s]+)", "\n".join(LOCK_LINES), re.MULTILINE)
}
# torchvision 0.N is built against torch 2.(N - 15).
TORCHVISION_OFFSET = 15


def required_names(requirements: list[str]) -> set[str]:
    """The normalised names of requirements."""
    names = [re.match(r"[\w.-]+", requirement) for requirement in requirements]
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name}


@pytest.mark.parametrize("line", LOCK_LINES)
def test_lock_line_is_a_pinned_version_without_an_address(line: str) -> None:
    assert re.fullmatch(r'[\w.-]+==[\w.+!]+(; platform_system == "Linux")?', line)


def test_lock_holds_torch_and_torchvision_of_one_family() -> None:
    torch_minor = int(LOCKED["torch"].split(".")[1])
    vision_minor = int(LOCKED["torchvision"].split(".")[1])
    assert vision_minor == torch_minor + TORCHVISION_OFFSET
    # A "+cpu" or "+cu130" beside an ordinary build is what breaks the import.
    assert "+" not in LOCKED["torch"] + LOCKED["torchvision"]


@pytest.mark.parametrize("name", ["lightning", "pytorch-lightning"])
def test_lock_holds_no_compromised_lightning(name: str) -> None:
    assert LOCKED[name] not in ("2.6.2", "2.6.3")


def test_compromised_lightning_is_excluded_from_the_distribution() -> None:
    [requirement] = [r for r in PROJECT["project"]["dependencies"] if r.startswith("lightning>")]
    assert "!=2.6.2" in requirement and "!=2.6.3" in requirement


def test_every_direct_dependency_is_locked() -> None:
    project = PROJECT["project"]
    direct = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert required_names(direct) <= set(LOCKED)


def test_every_import_package_is_listed() -> None:
    tops = ("callbacks", "datamodules", "experiments", "lightning_modules")
    files = [path for top in tops for path in (ROOT / top).rglob("__init__.py")]
    found = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in files}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_every_folder_of_code_is_a_package() -> None:
    tops = ("callbacks", "datamodules", "experiments", "lightning_modules")
    folders = {path.parent for top in tops for path in (ROOT / top).rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "SECURITY.md",
        "Makefile",
        ".gitignore",
        ".ci/run",
    ],
)
def test_project_file_is_there(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("docs/results/*/*.md")],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)", page.read_text(encoding="utf-8"))
    local = [link.partition("#") for link in links if not link.startswith("http")]
    targets = [(page.parent / path if path else page, anchor) for path, _, anchor in local]
    assert not [target for target, _ in targets if not target.exists()]
    assert not [
        (target.name, anchor)
        for target, anchor in targets
        if anchor and target.suffix == ".md" and anchor not in anchors_of(target)
    ]


def anchors_of(page: Path) -> set[str]:
    """What a link to a heading of a page ends in."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci/run"
    assert "make test" in script.read_text() and script.stat().st_mode & 0o111
