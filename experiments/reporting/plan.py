"""What a study is: variants of a run under several seeds, as the children to run.

A study is a YAML in `experiments/configs/studies`. Children are run by `runs.py`, what they
gave is told by `report.py` or by a report of the study's own in `experiments/studies`.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from experiments.config import load_config
from experiments.reporting.rows import paper_tables
from experiments.typed_words import write_words

PLACE = re.compile(r"\{([\w-]+)\}")
CHILD_TAG, STUDY_TAG, COMMAND_TAG = "child", "study", "command_sha256"
RUN = "experiments.run"
# Figures of a run that no test measures, and the metric that each is.
UNTESTED = {
    "latency_ms": "perf/test_ms_per_image",
    "peak_memory_mb": "perf/peak_memory_mb",
    "train_minutes": "perf/train_minutes",
    "test_images_seen": "data/test_images_seen",
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing that a study varies, before seeds.

    In settings, flags and tags `{name}` is this variant's name, `{seed}` its seed, `{here}` its
    folder, the name of a variant that it needs that one's folder, and one of the study's values or
    of its own labels that value.

    Args:
        is_stage1: it rests on the study's `stage1` instead of its `base`, and has no row.
        pretrained: the variant on whose stage 1 it trains.
        tests: the variant whose weights it tests at their own thresholds, zero-shot.
        needs: further variants that must have finished with the same seed.
        base: configs that it rests on instead of the study's.
        settings: configuration over these, by dotted keys or nested.
        flags: further words of the command.
        module: another command, whose words are the flags alone.
        results: the JSON file that it leaves in its folder, whose numbers are its metrics.
        labels: what its row says by column; its name where there is one column.
        lacks: what its row says while it has not run, such as the weights that it needs.
        tags: of a child that is no run.
    """

    is_stage1: bool = False
    pretrained: str = ""
    tests: str = ""
    needs: list[str] = field(default_factory=list)
    base: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    module: str = RUN
    results: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    lacks: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def all_needs(self) -> list[str]:
        """The variants that must have finished with the same seed."""
        return [name for name in (self.pretrained, self.tests, *self.needs) if name]


@dataclass(frozen=True, slots=True)
class Difference:
    """An answer: how far `of` is from `to` in each of the metrics, over the same seeds.

    words may name `of`, `to`, `metric`, `change`, and the means `of_mean` and `to_mean`.
    """

    of: str
    to: str
    metrics: list[str]
    words: str = "{of} instead of {to}: {metric} {change}"


@dataclass(frozen=True, slots=True)
class Best:
    """An answer: which variant is the highest in a figure.

    words may name `metric`, its `mean`, the variant's `name` and `labels`, and its `rivals`: those
    that it is not parted from over the same seeds, by their last label.
    """

    figure: str
    words: str


@dataclass(frozen=True, slots=True)
class Curves:
    """Charts over the numbers in the column `over`, a line for each word in the column `line`."""

    over: str
    line: str
    words: str = ""
    is_logarithmic: bool = True


@dataclass(frozen=True, slots=True)
class Study:
    """One table of the paper: what is run, and what is told of it. Its YAML has these keys.

    Args:
        name: of the parent run and its experiment.
        variants: what is compared, in the order of the table and each below what it needs.
        metrics: the table's figures; or figures and the metrics that hold them.
        title: of the table, its name where none is given.
        table: the name of its files, the study's where none is given.
        columns: labels of its rows.
        paper: the table of `paper_figures.yaml` whose figures stand beside or below ours.
        is_whole_paper: also what that table has of none of our variants.
        charts: figures that are drawn, as bars.
        curves: drawn as lines instead.
        differences: answers to tell.
        best: a further one.
        base: configs that children rest on, but for those of stage 1 and with a base of their own.
        settings: over the base, for each of these children.
        values: words for `{NAME}` in the title, settings, flags and tags.
        stage1: configs that children of stage 1 rest on.
        stage1_settings: over these, for each of those children.
        seeds: every variant under each.
        output: folder of runs, studies and tracking.
        threads: that a child computes with, 0 for its own choice.
        existing: folders that stand for a variant each, which is not run then; `{seed}` in one
            is the seed.
    """

    name: str
    variants: dict[str, Variant]
    metrics: list[str] | dict[str, str] = field(default_factory=list)
    title: str = ""
    table: str = ""
    columns: list[str] = field(default_factory=lambda: ["variant"])
    paper: str = ""
    is_whole_paper: bool = False
    charts: list[str] = field(default_factory=list)
    curves: Curves | None = None
    differences: list[Difference] = field(default_factory=list)
    best: Best | None = None
    base: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    values: dict[str, str | int | float] = field(default_factory=dict)
    stage1: list[str] = field(default_factory=list)
    stage1_settings: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    output: str = "mlruns"
    threads: int = 0
    existing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if Path(self.name).name != self.name or self.name in (".", ".."):
            raise ValueError(f"name is {self.name!r}: expected one word without folders")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds is {self.seeds}: expected one number or several, each once")
        if self.paper and self.paper not in (known := paper_tables()):
            raise ValueError(f"paper is {self.paper!r}: expected one of {', '.join(known)}")

    @property
    def labels(self) -> dict[str, dict[str, str]]:
        """What the row of each variant that has one says by column."""
        return {
            name: variant.labels or {self.columns[0]: name}
            for name, variant in self.variants.items()
            if not variant.is_stage1 and (variant.module == RUN or variant.results)
        }

    @property
    def folder(self) -> Path:
        """Where its report, its children's logs and its lock are."""
        return Path(self.output) / "studies" / self.name

    def metric_of(self, figure: str) -> str:
        """The metric that holds a figure, by our name of it; a metric is its own."""
        if isinstance(self.metrics, dict) and figure in self.metrics:
            return self.metrics[figure]
        return UNTESTED.get(figure, figure if "/" in figure else f"mask/test/{figure}")


@dataclass(frozen=True, slots=True)
class Child:
    """One run of a study: the words that follow `python -m MODULE`, without its tags.

    folder: where it writes, a run's own directory, or that of the run of another study that stands
    for it; results: its file of numbers there, if it is no run; sha256: of the command line but for
    names and folders, its config files, its images and the children it depends on.
    """

    name: str
    variant: str
    seed: int
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    module: str = RUN
    folder: str = ""
    results: str = ""
    sha256: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        """Whether it is a run of `experiments.run`, which tracks itself."""
        return self.module == RUN


def plan_children(study: Study, elsewhere: Mapping[str, str] | None = None) -> list[Child]:
    """Every variant under every seed, what is needed before what needs it.

    elsewhere: the folders of finished runs of other studies by what they ran, a child's sha256.

    Raises ValueError for an odd name, or a need that is none of the variants above.
    """
    known = {*study.existing}
    for name, variant in study.variants.items():
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(
                f"study: a variant is called {name!r}: expected letters, digits, - and _ alone"
            )
        if missing := [need for need in variant.all_needs if need not in known]:
            raise ValueError(
                f"variants.{name} needs {missing[0]!r}, which is none of the variants above it: "
                f"expected one of {', '.join(known) or 'none'}"
            )
        known.add(name)
    planned: dict[str, Child] = {}
    for seed in study.seeds:
        for name in study.variants:
            child = _child_of(study, name, seed, planned, elsewhere or {})
            planned[child.name] = child
    return list(planned.values())


def _child_of(
    study: Study,
    name: str,
    seed: int,
    planned: Mapping[str, Child],
    elsewhere: Mapping[str, str],
) -> Child:
    """One variant under one seed, after those that it needs."""
    variant, child = study.variants[name], f"{name}_s{seed}"
    needs = [planned[f"{need}_s{seed}"] for need in variant.all_needs if need in study.variants]
    is_run = variant.module == RUN
    folder = f"{study.output}/studies/{study.name}/children/{child}"
    if is_run:
        folder = f"{study.output}/runs/{study.name}.{child}"
    places = {key: str(value) for key, value in {**study.values, **variant.labels}.items()}
    places |= {of: filled(there, {"seed": seed}) for of, there in study.existing.items()}
    places |= {"here": folder, "seed": str(seed), "name": name}
    words = _words(study, variant, places | {need.variant: need.folder for need in needs})
    # What it does is the same wherever the runs that it needs are.
    same = _words(study, variant, places | {need.variant: need.sha256 for need in needs})
    rests_on = [need.sha256 for need in needs]
    if is_run:
        rests_on.append(_sha256(json.dumps(_configuration(_base(study, variant)), sort_keys=True)))
        rests_on += _images_sha256(_manifest(study, variant, places), [one.folder for one in needs])
    sha256 = _sha256(variant.module, *same, *rests_on)
    if is_run:
        words += ["--name", f"{study.name}.{child}", "--experiment", study.name]
        words += ["--output", study.output]
        folder = elsewhere.get(sha256, folder)
    return Child(
        child,
        name,
        seed,
        tuple(words),
        tuple(need.name for need in needs),
        variant.module,
        folder,
        f"{folder}/{variant.results}" if variant.results else "",
        sha256,
        {key: filled(value, places) for key, value in variant.tags.items()},
    )


def _base(study: Study, variant: Variant) -> tuple[str, ...]:
    return tuple(variant.base or (study.stage1 if variant.is_stage1 else study.base))


def _manifest(study: Study, variant: Variant, places: Mapping[str, str]) -> str:
    """The path of the manifest that a run reads, "" where it has none."""
    over = dotted(_configuration(_base(study, variant))) | _settings(study, variant)
    path = over.get("manifest") or over.get("data.init_args.manifest") or ""
    return filled(str(path), places)


def _images_sha256(manifest: str, needed: Sequence[str]) -> list[str]:
    """The hash of a manifest's records, none where it isn't prepared yet or a need prepares it."""
    from datamodules.manifest import Manifest

    path = Path(manifest)
    is_given = bool(manifest) and not any(path.is_relative_to(folder) for folder in needed)
    return [Manifest.open(path).sha256] if is_given and path.is_file() else []


def _words(study: Study, variant: Variant, places: Mapping[str, str]) -> list[str]:
    """The words of a variant's command, but for a run's names and folder."""
    flags = [filled(word, places) for word in variant.flags]
    if variant.module != RUN:
        return flags
    files = (word for config in _base(study, variant) for word in ("--config", config))
    return [*files, *_setting_words(study, variant, places), *flags]


def _setting_words(study: Study, variant: Variant, places: Mapping[str, str]) -> list[str]:
    """The settings of a run as they are typed, with the weights that it starts from or tests."""
    settings = _settings(study, variant)
    settings["seed"] = places["seed"]
    if variant.pretrained:
        settings["pretrained"] = places[variant.pretrained]
    if variant.tests:
        settings["setting"] = "zero_shot"
        weights = places[variant.tests]
        settings |= {"weights": weights, "thresholds": f"{weights}/thresholds.json"}
    words = []
    for key, value in settings.items():
        text = value if isinstance(value, str) else write_words(value, is_line=True).strip()
        words += [f"--{key}", filled(text, places) if isinstance(value, str) else text]
    return words


def _settings(study: Study, variant: Variant) -> dict[str, object]:
    """What a run of the variant sets over its base, by dotted keys in their order."""
    over = study.stage1_settings if variant.is_stage1 else study.settings
    return dict(sorted({**dotted(over), **dotted(variant.settings)}.items()))


def dotted(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings with dotted keys."""
    flat: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def filled(text: str, places: Mapping[str, object]) -> str:
    """The text with each `{name}` that is a place replaced; other braces stay as they are."""
    return PLACE.sub(lambda found: str(places.get(found[1], found[0])), text)


def _sha256(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


@cache
def _configuration(configs: tuple[str, ...]) -> dict[str, object]:
    """What these files say together."""
    return load_config(configs)
