"""The card of a release: README.md, made of what run and configuration say; unknown is said so."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from callbacks.run_record import RECORD_NAME, package_versions, parameter_counts
from datamodules.about import About
from datamodules.formats.text_files import read_json
from datamodules.manifest import Manifest
from experiments.checkpoints import Restored
from experiments.release import HUB_PARTS
from experiments.tables import Table, to_markdown
from experiments.tracking import RESULTS_NAME
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.weights_io import sha256_of

UNKNOWN = "unknown"
LISTED_NAMES = 40
STAGE_1_USE = (
    "research on industrial defects: drawing them from words, and features for finding them."
)
STAGE_2_USE = "research on finding and naming surface defects in images of industrial parts."
LIMITS = (
    "It has seen the data named above and nothing else of its kind: another material, camera or "
    "light is another question.",
    "Figures hold for the split they are named with, under the settings in config.yaml.",
    "It is no safety device: no part is to be passed or scrapped on its word alone.",
)
DRAWING_LIMITS = (
    "Drawn images are no evidence of a real part, and are not to be counted in a test split.",
    "There is no safety checker: it was trained on images of parts, not of people.",
)
PREDICT = """```sh
python -m experiments.predict --checkpoint RELEASE --images IMAGES --out DIR
```"""
PIPELINE = """```python
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained("RELEASE")
pipeline("CAPTION", guidance_scale={guidance_scale}).images[0]
```

The pipeline draws from words alone; the implicit captioner is in `implicit_captioner/` and is used
by DiffuseDefect:

"""
LOAD = """```python
from pathlib import Path
from experiments.checkpoints import load_pretrain
model = load_pretrain(Path("RELEASE"))
```

As the stage 1 under a stage 2: `--model.init_args.pretrained RELEASE`."""
FILES = (
    "`sha256sum -c manifest.sha256` checks every file; nothing in here is pickled. "
    "`config.yaml` holds all settings, `release.json` says which file holds which weights."
)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of the data: name, hashes, licences, whom to cite."""

    name: str
    manifest_sha256: str
    split_sha256: str
    licences: str
    citation: str


def card_text(restored: Restored, *, reason: str, licence: str) -> str:
    """The card in Markdown, with the metadata that model hubs read at its head.

    reason: why the release is no pipeline of diffusers, "" where it is one; licence: of the
    weights, "" where nobody has said.
    """
    raw, record = restored.raw, written_by(restored, RECORD_NAME)
    data = data_facts(restored, record)
    head = {
        "library_name": "pytorch" if reason else "diffusers",
        "license": licence.lower() or UNKNOWN,
        "tags": ["defect-detection", "industrial", str(raw.get("scale", UNKNOWN))],
    }
    is_stage_1 = isinstance(restored.model, DiffusionPretrain)
    counts = parameter_counts(restored.model).items()
    parameters = tuple((name, one["trainable"] + one["frozen"]) for name, one in counts)
    sections = {
        "Data": bullets(
            f"Data set: {data.name}",
            f"Manifest: sha256 {data.manifest_sha256}",
            f"Split: sha256 {data.split_sha256}",
            f"Licences of the data: {data.licences}",
            f"Cite: {data.citation}",
        ),
        "Parameters": to_markdown(Table("", ("part", "parameters"), parameters)),
        "Results": results_block(restored),
        "Intended use": "For " + (STAGE_1_USE if is_stage_1 else STAGE_2_USE),
        "Limits": bullets(*LIMITS, *(DRAWING_LIMITS if is_stage_1 else ())),
        "Licence": licence_block(restored, data, licence),
        "How to load": loading_block(restored, reason),
        "Made with": versions_block(restored, record),
        "Files": FILES,
    }
    blocks = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {raw.get('name', UNKNOWN)}",
        what_it_is(restored, reason),
        *(f"## {title}\n\n{text}" for title, text in sections.items()),
    ]
    return "\n\n".join(blocks) + "\n"


def what_it_is(restored: Restored, reason: str) -> str:
    """Stage, classes, image side and layout, as a list."""
    saved, raw = restored.saved, restored.raw
    names = [entry[0] for entry in saved.entries]
    listed = ", ".join(names[:LISTED_NAMES]) + (", ..." if len(names) > LISTED_NAMES else "")
    sides = [f"Trained on images of a side of: {saved.image_size_px} px"]
    return bullets(
        f"Model: `{type(restored.model).__name__}` of DiffuseDefect, stage `{saved.stage}`",
        f"Scale: {raw.get('scale', UNKNOWN)}; setting: {raw.get('setting', UNKNOWN)}; "
        f"seed: {raw.get('seed', UNKNOWN)}",
        *(sides if saved.image_size_px else ()),
        f"Classes of the training data ({len(names)}): {listed}",
        "Layout: " + (f"single file, because {reason}" if reason else "a diffusers pipeline"),
    )


def data_facts(restored: Restored, record: Mapping[str, object]) -> DataFacts:
    """What the run's record and its source or manifest know of the data."""
    found = record.get("data")
    known = found if isinstance(found, Mapping) else {}
    sha256 = str(known.get("manifest_sha256", UNKNOWN))
    source = getattr(restored.data, "source", None)
    about = getattr(source, "about", None)
    name = str(known.get("dataset", getattr(source, "name", UNKNOWN)))
    licences, citation = "", ""
    if isinstance(about, About):
        name, citation = f"{about.title} ({name})", about.citation
        licences = f"{about.licence} {about.licence_url}".strip()
    else:
        path = Path(str(getattr(restored.data, "manifest", "")))
        manifest = Manifest.open(path) if path.is_file() else None
        # A manifest that was made anew may have other images.
        if manifest is not None and manifest.sha256 == sha256:
            licences = "; ".join(sorted(set(manifest.column("licence")) - {""}))
    split = str(known.get("split_sha256", UNKNOWN))
    return DataFacts(name, sha256, split, licences or UNKNOWN, citation or UNKNOWN)


def results_block(restored: Restored) -> str:
    """The figures that the run wrote, each with its split."""
    rows = []
    for name, value in sorted(written_by(restored, RESULTS_NAME).items()):
        stage, _, rest = name.partition("/")
        split, _, metric = rest.partition("/")
        if split in ("val", "test") and (value is None or isinstance(value, int | float)):
            rows.append((split, f"{stage}: {metric}", value))
    if not rows:
        return f"{UNKNOWN}: the run directory holds no figures of a validation or test split."
    note = "Of one run, seed and all settings as in config.yaml; `-` could not be computed."
    return f"{note}\n\n" + to_markdown(Table("", ("split", "figure", "value"), tuple(rows)))


def licence_block(restored: Restored, data: DataFacts, licence: str) -> str:
    """What is known of the rights in weights, starting weights, data and code."""
    parts = [module for module in restored.model.modules() if type(module) in HUB_PARTS]
    names = sorted({str(part.pretrained) for part in parts})
    hubs = [name for name in names if name.count("/") == 1 and not Path(name).exists()]
    origin = ", ".join(hubs) or "a local folder, of unknown origin"
    frozen = [f"Frozen parts came from {origin}, under licences of their own"]
    return bullets(
        f"Weights: {licence or UNKNOWN + ', nobody has stated one'}",
        *(frozen if parts else ()),
        f"They were learnt from data under: {data.licences}",
        "The code of DiffuseDefect: Apache-2.0",
    )


def loading_block(restored: Restored, reason: str) -> str:
    """The lines that open the release."""
    if not isinstance(restored.model, DiffusionPretrain):
        return PREDICT
    if reason:
        return LOAD
    return PIPELINE.format(guidance_scale=restored.model.guidance_scale) + LOAD


def versions_block(restored: Restored, record: Mapping[str, object]) -> str:
    """Code, packages of the training and of the export, and the file that was exported."""
    git, trained = (
        found if isinstance(found, Mapping) else {}
        for found in (record.get("git"), record.get("packages"))
    )
    rows = [
        (name, str(trained.get(name, UNKNOWN)), now) for name, now in package_versions().items()
    ]
    file = restored.saved.file
    changed = " with uncommitted changes" if git.get("dirty") == "yes" else ""
    facts = bullets(
        f"Code: commit {git.get('commit', UNKNOWN)}{changed}",
        f"Exported from `{file.name}`, sha256 {sha256_of(file)}, on {datetime.date.today()}",
    )
    return facts + "\n\n" + to_markdown(Table("", ("package", "training", "export"), tuple(rows)))


def written_by(restored: Restored, name: str) -> dict[str, object]:
    """What the run wrote into its file of that name, empty without the file."""
    file = restored.directory / name
    return read_json(file) if file.is_file() else {}


def bullets(*lines: str) -> str:
    """The lines as a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)
