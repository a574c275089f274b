"""The card of a release: README.md, made of what run and configuration say; unknown is said so.

Its text is `model_card.md`.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

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

TEMPLATE = Path(__file__).with_suffix(".md")
UNKNOWN = "unknown"
LISTED_NAMES = 40
STAGE_1_USE = "industrial defects: drawing them from words, and features for finding them."
STAGE_2_USE = "finding and naming surface defects in images of industrial parts."
STAGE_1_LIMITS = """
- Drawn images are no evidence of a real part, and are not to be counted in a test split.
- There is no safety checker: it was trained on images of parts, not of people."""
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

As the stage 1 under a stage 2: `--pretrained RELEASE`."""


def card_text(restored: Restored, *, reason: str, licence: str) -> str:
    """The card in Markdown, with the metadata that model hubs read at its head.

    reason: why the release is no pipeline of diffusers, "" where it is one; licence: of the
    weights, "" where nobody has said.
    """
    raw, saved, model = restored.raw, restored.saved, restored.model
    metadata = {
        "library_name": "pytorch" if reason else "diffusers",
        "license": licence.lower() or UNKNOWN,
        "tags": ["defect-detection", "industrial", str(raw.get("scale", UNKNOWN))],
    }
    names = [entry[0] for entry in saved.entries]
    counts = [(name, sum(count.values())) for name, count in parameter_counts(model).items()]
    record = written_by(restored, RECORD_NAME)
    use, limits, loading = STAGE_2_USE, "", PREDICT
    if isinstance(model, DiffusionPretrain):
        pipeline = "" if reason else PIPELINE.format(guidance_scale=model.guidance_scale)
        use, limits, loading = STAGE_1_USE, STAGE_1_LIMITS, pipeline + LOAD
    words = {
        "metadata": yaml.safe_dump(metadata, sort_keys=False),
        "title": raw.get("name", UNKNOWN),
        "model": type(model).__name__,
        "stage": saved.stage,
        **{key: raw.get(key, UNKNOWN) for key in ("scale", "setting", "seed")},
        "side": f"{saved.image_size_px} px" if saved.image_size_px else UNKNOWN,
        "class_count": len(names),
        "classes": ", ".join(names[:LISTED_NAMES]) + (", ..." if names[LISTED_NAMES:] else ""),
        "layout": f"single file, because {reason}" if reason else "a diffusers pipeline",
        **data_words(restored, record.get("data", {})),
        "parameters": to_markdown(Table("", ("part", "parameters"), tuple(counts))),
        "results": results_block(restored),
        "use": use,
        "more_limits": limits,
        "licence": licence or f"{UNKNOWN}, nobody has stated one",
        "origin": origin_of(restored),
        "loading": loading,
        **code_words(restored, record),
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(words)


def data_words(restored: Restored, known: Mapping[str, object]) -> dict[str, str]:
    """What the run's record and its source or manifest know of the data."""
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
    return {
        "data_set": name,
        "manifest_sha256": sha256,
        "split_sha256": str(known.get("split_sha256", UNKNOWN)),
        "data_licences": licences or UNKNOWN,
        "citation": citation or UNKNOWN,
    }


def results_block(restored: Restored) -> str:
    """The figures that the run wrote, each with its split."""
    rows = []
    for name, value in sorted(written_by(restored, RESULTS_NAME).items()):
        stage, _, rest = name.partition("/")
        split, _, metric = rest.partition("/")
        if split in ("val", "test"):
            rows.append((split, f"{stage}: {metric}", value))
    if not rows:
        return f"{UNKNOWN}: the run directory holds no figures of a validation or test split."
    note = "Of one run, seed and all settings as in config.yaml; `-` could not be computed."
    return f"{note}\n\n" + to_markdown(Table("", ("split", "figure", "value"), tuple(rows)))


def origin_of(restored: Restored) -> str:
    """Where the frozen parts that are read by name came from: names of a hub, or local files."""
    parts = [module for module in restored.model.modules() if type(module) in HUB_PARTS]
    names = sorted({str(part.pretrained) for part in parts})
    hubs = [name for name in names if name.count("/") == 1 and not Path(name).exists()]
    return ", ".join(hubs) or (
        "local files, of unknown origin" if parts else "nowhere: it has none"
    )


def code_words(restored: Restored, record: Mapping[str, Any]) -> dict[str, str]:
    """Code, packages of the training and of the export, and the file that was exported."""
    git, trained = record.get("git", {}), record.get("packages", {})
    versions = package_versions().items()
    rows = tuple((name, str(trained.get(name, UNKNOWN)), now) for name, now in versions)
    file = restored.saved.file
    changed = " with uncommitted changes" if git.get("dirty") == "yes" else ""
    return {
        "commit": f"{git.get('commit', UNKNOWN)}{changed}",
        "file": file.name,
        "file_sha256": sha256_of(file),
        "today": datetime.date.today().isoformat(),
        "packages": to_markdown(Table("", ("package", "training", "export"), rows)),
    }


def written_by(restored: Restored, name: str) -> dict[str, Any]:
    """What the run wrote into its file of that name, empty without the file."""
    file = restored.directory / name
    return read_json(file) if file.is_file() else {}
