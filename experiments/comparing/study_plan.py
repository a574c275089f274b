"""What a study is: variants of a run, each under several seeds, and the tables of their figures.

A study of the paper is one file of `experiments/studies/`; children are run by `child_runs.py`.
"""

import hashlib
import itertools
import json
import math
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.comparing.estimates import Estimate, estimate
from experiments.comparing.paper_tables import Report

CHILD_TAG, STUDY_TAG, COMMAND_TAG = "child", "study", "command_sha256"
PARENT_TAG = "mlflow.parentRunId"
RUN = "run"


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing that a study varies, before seeds.

    settings: dotted keys of the configuration and their values; configs: files laid over the
    study's base; flags: further words of the command, `{name}` in them being another child's run
    directory; needs: variants that must have finished with the same seed.
    """

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)
    configs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Child:
    """One run of a study: the words that follow `python -m experiments.run`, without its tags."""

    name: str
    variant: str
    seed: int
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def ends_in_stage1(self) -> bool:
        """Whether the child is a stage 1 alone, so that its run is the one that counts."""
        return ("--only", "pretrain") in itertools.pairwise(self.words)

    @property
    def sha256(self) -> str:
        """What its words are known by: a child of other words is another child."""
        return hashlib.sha256("\0".join(self.words).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What a finished child left in the tracker."""

    run_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Results:
    """The finished children of a study by (variant, seed)."""

    found: Mapping[tuple[str, int], ChildResult]

    @property
    def seeds(self) -> list[int]:
        """The seeds under which something has finished, ascending."""
        return sorted({seed for _, seed in self.found})

    def value(self, variant: str, seed: int, metric: str) -> float:
        """The metric of one child, nan where it has not finished or has none."""
        result = self.found.get((variant, seed))
        return math.nan if result is None else result.metrics.get(metric, math.nan)

    def of(self, variant: str, metric: str) -> Estimate | None:
        """The metric of a variant over its seeds, None where no child of it has finished."""
        return estimate([self.value(variant, seed, metric) for seed in self.seeds])

    def tag(self, variant: str, name: str) -> str:
        """What the variant's children say in a tag; "" where none has finished."""
        for (found, _), result in sorted(self.found.items()):
            if found == variant:
                return result.tags.get(name, "")
        return ""

    def run_ids(self, variant: str) -> list[str]:
        """The tracked runs of a variant, by seed."""
        return [
            result.run_id for (name, _), result in sorted(self.found.items()) if name == variant
        ]


class Study(ABC):
    """One table of the paper as variants to run and a report of what they gave."""

    @abstractmethod
    def variants(self) -> Sequence[Variant]:
        """What is compared, in the order of the table."""

    @abstractmethod
    def report(self, results: Results) -> Report:
        """Tables, figures and answers from what has finished so far."""


def plan_children(
    study: Study,
    *,
    name: str,
    base: Sequence[str],
    settings: Mapping[str, object],
    seeds: Sequence[int],
    output: str,
) -> list[Child]:
    """Every variant under every seed, what is needed before what needs it.

    Raises ValueError for two variants of one name, a need that is none, or a circle of needs.
    """
    variants = ordered(study.variants())
    return [
        make_child(variant, seed, name=name, base=base, settings=settings, output=output)
        for seed in seeds
        for variant in variants
    ]


def make_child(
    variant: Variant,
    seed: int,
    *,
    name: str,
    base: Sequence[str],
    settings: Mapping[str, object],
    output: str,
) -> Child:
    """The run of one variant and seed."""
    title = f"{name}.{variant.name}_s{seed}"
    directories = {need: f"{output}/runs/{name}.{need}_s{seed}" for need in variant.needs}
    words = [word for config in (*base, *variant.configs) for word in ("--config", config)]
    words += [part.format_map(directories) for part in variant.flags]
    given = {**settings, **variant.settings, "seed": seed}
    for key, value in given.items():
        words += [f"--{key}", as_word(value, directories)]
    words += ["--name", title, "--experiment", name, "--output", output]
    needs = tuple(f"{need}_s{seed}" for need in variant.needs)
    return Child(f"{variant.name}_s{seed}", variant.name, seed, tuple(words), needs)


def as_word(value: object, directories: Mapping[str, str]) -> str:
    """A setting as it is typed, another child's run directory in the place of its `{name}`."""
    if isinstance(value, str):
        return value.format_map(directories) if directories else value
    return json.dumps(value)


def ordered(variants: Sequence[Variant]) -> list[Variant]:
    """The variants, each after those that it needs; ValueError where that cannot be."""
    named = {variant.name: variant for variant in variants}
    if len(named) < len(variants):
        raise ValueError(f"study: two variants have one name among {', '.join(sorted(named))}")
    unknown = {need for variant in variants for need in variant.needs} - named.keys()
    if unknown:
        raise ValueError(f"study: a variant needs {min(unknown)!r}, which is none of its variants")
    placed: list[Variant] = []
    waiting = list(variants)
    while waiting:
        done = {variant.name for variant in placed}
        ready = [variant for variant in waiting if set(variant.needs) <= done]
        if not ready:
            raise ValueError(f"study: {waiting[0].name!r} needs itself by way of its needs")
        placed += ready
        waiting = [variant for variant in waiting if variant not in ready]
    return placed


def command_of(child: Child, study: str, parent: str) -> list[str]:
    """The command of a child with the tags by which its study finds it, resuming what is broken."""
    tags = {
        STUDY_TAG: study,
        CHILD_TAG: child.name,
        COMMAND_TAG: child.sha256,
        PARENT_TAG: parent,
    }
    return ["-m", "experiments.run", *child.words, "--tags", json.dumps(tags), "--resume", "auto"]


def shown_command(child: Child, study: str, parent: str) -> str:
    """The command as a person or a scheduler types it."""
    return shlex.join(["python", *command_of(child, study, parent)])
