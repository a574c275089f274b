"""The card of a release: README.md, made of what run and configuration say; unknown is said so.

Which weights lie where is decided in `release.py`.
"""

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from callbacks.run_record import RECORD_NAME, package_versions, parameter_counts
from datamodules.about import About
from datamodules.manifest import Manifest
from experiments.checkpoints import PRETRAINED_KEY, Restored
from experiments.releasing.release import class_nodes
from experiments.tables import Table, to_markdown
from experiments.tracking import RESULTS_NAME
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.weights_io import RELEASE_NAME, sha256_of

CARD_NAME = "README.md"
UNKNOWN = "unknown"
LISTED_NAMES = 40
NO_PIPELINE_USE = "research on finding and naming surface defects in images of industrial parts."
PIPELINE_USE = (
    "research on industrial defects: drawing them from words, and features for finding them."
)
LIMITS = (
    "It has seen the data named above and nothing else of its kind: another material, camera or "
    "light is another question.",
    "Figures hold for the split they are named with, under the settings in config.yaml.",
    "It is no safety device: no part is to be passed or scrapped on its word alone.",
)
DRAWING_LIMITS = (
    "Drawn pictures are no evidence of a real part, and are not to be counted in a test split.",
    "There is no safety checker: it was trained on pictures of parts, not of people.",
)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of the data: name, hashes, licences, whom to cite."""

    name: str
    manifest_sha256: str
    split_sha256: str
    licences: tuple[str, ...]
    citations: tuple[str, ...]


def write_model_card(folder: Path, restored: Restored, *, reason: str, licence: str) -> None:
    """README.md of a release in `folder`; reason: why it is no pipeline; licence: of the weights,
    "" where nobody has said.
    """
    text = card_text(folder, restored, reason=reason, licence=licence)
    (folder / CARD_NAME).write_text(text, encoding="utf-8")


def card_text(folder: Path, restored: Restored, *, reason: str, licence: str) -> str:
    """The card in Markdown, with the metadata that model hubs read at its head."""
    raw, record = restored.raw, read_json(restored.directory / RECORD_NAME)
    data = data_facts(restored, record)
    head = {
        "library_name": "pytorch" if reason else "diffusers",
        "license": licence.lower() or "unknown",
        "tags": ["defect-detection", "industrial", str(raw.get("scale", UNKNOWN))],
    }
    title = str(raw.get("name", UNKNOWN))
    blocks = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {title}",
        what_it_is(restored, reason),
        "## Data\n\n" + data_lines(data),
        "## Parameters\n\n" + to_markdown(parameter_table(restored)),
        "## Results\n\n" + results_block(restored),
        "## Intended use\n\nFor " + (NO_PIPELINE_USE if reason else PIPELINE_USE),
        "## Limits\n\n" + bullets(limits_of(restored)),
        "## Licence\n\n" + licence_block(restored, data, licence),
        "## How to load\n\n" + loading_block(restored, reason),
        "## Made with\n\n" + versions_block(restored, record),
        "## Files\n\n"
        "`sha256sum -c manifest.sha256` checks every file; nothing in here is pickled. "
        f"`config.yaml` holds all settings, `{RELEASE_NAME}` says which file holds which weights.",
    ]
    return "\n\n".join(blocks) + "\n"


def what_it_is(restored: Restored, reason: str) -> str:
    """Stage, classes, picture side and layout, as a list."""
    saved, raw = restored.saved, restored.raw
    names = [entry[0] for entry in saved.entries]
    shown = ", ".join(names[:LISTED_NAMES])
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    side = f"{saved.image_size_px} px" if saved.image_size_px else UNKNOWN
    lines = [
        f"Model: `{type(restored.model).__name__}` of DiffuseDefect, stage `{saved.stage}`",
        f"Scale: {raw.get('scale', UNKNOWN)}; setting: {raw.get('setting', UNKNOWN)}; "
        f"seed: {raw.get('seed', UNKNOWN)}",
        f"Classes of the training data ({len(names)}): {shown}{more}",
        "Layout: " + (f"single file, because {reason}" if reason else "a diffusers pipeline"),
    ]
    if isinstance(restored.model, DiffusionPretrain):
        lines.insert(2, f"Trained on pictures of a side of: {side}")
    return bullets(lines)


def data_facts(restored: Restored, record: Mapping[str, object]) -> DataFacts:
    """What the run's record and its source or manifest tell of the data."""
    told = record.get("data")
    told = told if isinstance(told, Mapping) else {}
    sha256 = str(told.get("manifest_sha256", UNKNOWN))
    source = getattr(restored.data, "source", None)
    about = getattr(source, "about", None)
    licences: set[str] = set()
    citations: set[str] = set()
    name = str(told.get("dataset", getattr(source, "name", UNKNOWN)))
    if isinstance(about, About):
        name = f"{about.title} ({name})"
        licences = {f"{about.licence} {about.licence_url}".strip()}
        citations = {about.citation} - {""}
    else:
        licences = manifest_licences(str(getattr(restored.data, "manifest", "")), sha256)
    return DataFacts(
        name,
        sha256,
        str(told.get("split_sha256", UNKNOWN)),
        tuple(sorted(licences)),
        tuple(sorted(citations)),
    )


def manifest_licences(path: str, sha256: str) -> set[str]:
    """The licences that a manifest names, where it is at hand and the one that was trained on."""
    if not path or not Path(path).is_file():
        return set()
    manifest = Manifest.open(path)
    return set(manifest.column("licence")) - {""} if manifest.sha256 == sha256 else set()


def data_lines(data: DataFacts) -> str:
    """The facts of the data as a list."""
    return bullets(
        [
            f"Data set: {data.name}",
            f"Manifest: sha256 {data.manifest_sha256}",
            f"Split: sha256 {data.split_sha256}",
            f"Licences of the data: {'; '.join(data.licences) or UNKNOWN}",
            *(f"Cite: {citation}" for citation in data.citations),
        ]
    )


def parameter_table(restored: Restored) -> Table:
    """Parameters of each part of the figure."""
    rows = [
        (name, count["trainable"] + count["frozen"])
        for name, count in parameter_counts(restored.model).items()
    ]
    return Table("", ("part", "parameters"), tuple(rows))


def results_block(restored: Restored) -> str:
    """The figures that the run wrote, each with its split."""
    results = read_json(restored.directory / RESULTS_NAME)
    rows = []
    for name, value in sorted(results.items()):
        stage, _, rest = name.partition("/")
        split, _, metric = rest.partition("/")
        if split in ("val", "test") and (value is None or isinstance(value, int | float)):
            rows.append((split, f"{stage}: {metric}", value))
    if not rows:
        return f"{UNKNOWN}: the run directory holds no figures of a validation or test split."
    note = "Of one run, seed and all settings as in config.yaml; `-` could not be computed."
    return f"{note}\n\n" + to_markdown(Table("", ("split", "figure", "value"), tuple(rows)))


def limits_of(restored: Restored) -> tuple[str, ...]:
    """What not to expect of it."""
    return LIMITS + (DRAWING_LIMITS if isinstance(restored.model, DiffusionPretrain) else ())


def licence_block(restored: Restored, data: DataFacts, licence: str) -> str:
    """What is known of the rights in weights, starting weights, data and code."""
    names = {
        str(arguments[PRETRAINED_KEY])
        for node in class_nodes(restored.raw)
        if "nets." in str(node["class_path"])
        and isinstance(arguments := node.get("init_args"), dict)
        and isinstance(arguments.get(PRETRAINED_KEY), str)
    }
    hubs = sorted(name for name in names if name.count("/") == 1 and not Path(name).exists())
    lines = [
        f"Weights: {licence or UNKNOWN + ', nobody has stated one'}",
        "They were learnt from data under: " + ("; ".join(data.licences) or UNKNOWN),
        "The code of DiffuseDefect: Apache-2.0",
    ]
    if names:
        origin = ", ".join(hubs) or "a local folder, of unknown origin"
        lines.insert(1, f"Frozen parts came from {origin}, under licences of their own")
    return bullets(lines)


def loading_block(restored: Restored, reason: str) -> str:
    """The lines that open the release."""
    if not isinstance(restored.model, DiffusionPretrain):
        return code(
            "sh",
            "python -m experiments.predict --checkpoint RELEASE --images PICTURES --out DIR",
        )
    own = code(
        "python",
        "from pathlib import Path",
        "from experiments.checkpoints import load_pretrain",
        'model = load_pretrain(Path("RELEASE"))',
    )
    stage_2 = "As the stage 1 under a stage 2: `--model.init_args.pretrained RELEASE`."
    if reason:
        return f"{own}\n\n{stage_2}"
    pipeline = code(
        "python",
        "from diffusers import StableDiffusionPipeline",
        'pipeline = StableDiffusionPipeline.from_pretrained("RELEASE")',
        f'pipeline("CAPTION", guidance_scale={restored.model.guidance_scale}).images[0]',
    )
    note = (
        "The pipeline draws from words alone; the implicit captioner is in `implicit_captioner/` "
        "and is used by DiffuseDefect:"
    )
    return f"{pipeline}\n\n{note}\n\n{own}\n\n{stage_2}"


def versions_block(restored: Restored, record: Mapping[str, object]) -> str:
    """Code, packages of the training and of the export, and the file that was exported."""
    git, trained = record.get("git"), record.get("packages")
    git = git if isinstance(git, Mapping) else {}
    trained = trained if isinstance(trained, Mapping) else {}
    now = package_versions()
    rows = tuple((name, str(trained.get(name, UNKNOWN)), now[name]) for name in now)
    file = restored.saved.file
    changed = " with uncommitted changes" if git.get("dirty") == "yes" else ""
    lines = [
        f"Code: commit {git.get('commit', UNKNOWN)}{changed}",
        f"Exported from `{file.name}`, sha256 {sha256_of(file)}, on "
        f"{datetime.date.today().isoformat()}",
    ]
    table = to_markdown(Table("", ("package", "training", "export"), rows))
    return f"{bullets(lines)}\n\n{table}"


def read_json(file: Path) -> dict[str, object]:
    """The mapping in a run's JSON file, empty without the file; ValueError where it is broken."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is broken ({error}): expected the JSON of a run") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} is broken: got a {type(content).__name__}, expected a mapping")
    return content


def bullets(lines: list[str] | tuple[str, ...]) -> str:
    """The lines as a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def code(language: str, *lines: str) -> str:
    """The lines as a Markdown block of code."""
    return "\n".join([f"```{language}", *lines, "```"])
