"""What a study is: variants of a run, each under several seeds, and the tables of their figures.

A study of the paper is one file of `experiments/studies/`; children are run by `child_runs.py`.
"""

import hashlib
import json
import math
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from experiments.comparing.estimates import Estimate, estimate
from experiments.comparing.paper_tables import Report
from experiments.configuration import load_layers

PLACE = re.compile(r"\{([\w-]+)\}")
CHILD_TAG, STUDY_TAG, COMMAND_TAG = "child", "study", "command_sha256"
PARENT_TAG = "mlflow.parentRunId"
RUN = "experiments.run"


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing that a study varies, before seeds.

    settings: dotted keys of the configuration and their values; configs: files laid over the
    study's base; flags: further words of the command, `{name}` in them being the folder of another
    child, `{here}` its own and `{seed}` its seed; needs: variants that must have finished with the
    same seed. module: another command of ours, whose words are the flags alone; results: the JSON
    file in its folder whose numbers are its metrics, "" for none; is_stage1: its run is a stage 1.
    """

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)
    configs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    module: str = RUN
    results: str = ""
    is_stage1: bool = False


@dataclass(frozen=True, slots=True)
class Child:
    """One run of a study: the words that follow `python -m MODULE`, without its tags.

    folder: where it writes, a run's own directory. A child that is no run may leave a file of
    results there; a run tracks its numbers itself. rests_on: what its words name: the configuration
    as it is now, and the children that it needs.
    """

    name: str
    variant: str
    seed: int
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    module: str = RUN
    folder: str = ""
    results: str = ""
    is_stage1: bool = False
    rests_on: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """What it is known by: other words, or other things to rest on, make another child."""
        return sha256_of(self.module, *self.words, *self.rests_on)


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

    def metrics(self, variant: str) -> list[str]:
        """The names of all metrics of a variant's children, sorted."""
        return sorted(
            {
                key
                for (name, _), child in self.found.items()
                if name == variant
                for key in child.metrics
            }
        )

    def of(self, variant: str, metric: str) -> Estimate | None:
        """The metric of a variant over its seeds, None where no child of it has finished."""
        return estimate([self.value(variant, seed, metric) for seed in self.seeds])

    def differences(self, variant: str, base: str, metric: str) -> list[float]:
        """How far the metric of a variant is from that of `base`, seed by seed; nan for neither."""
        return [
            self.value(variant, seed, metric) - self.value(base, seed, metric)
            for seed in self.seeds
        ]

    def tag(self, variant: str, name: str) -> str:
        """What the variant's children say in a tag, each word once; "" where none has finished."""
        said = [
            result.tags.get(name, "")
            for (found, _), result in sorted(self.found.items())
            if found == variant
        ]
        return ", ".join(dict.fromkeys(filter(None, said)))

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

    Raises ValueError for two variants of one name or an odd one, a need that is none, or a circle.
    """
    variants = ordered(study.variants())
    named = {variant.name: variant for variant in variants}

    planned: dict[str, Child] = {}

    def child_of(variant: Variant, seed: int) -> Child:
        places = {need: place_of(named[need], seed, name, output) for need in variant.needs}
        places |= {"here": place_of(variant, seed, name, output), "seed": str(seed)}
        needs = tuple(f"{need}_s{seed}" for need in variant.needs)
        rests_on = [planned[need].sha256 for need in needs]
        words = [filled(part, places) for part in variant.flags]
        if variant.module == RUN:
            configs = (*base, *variant.configs)
            given = words_of({**settings, **variant.settings, "seed": seed}, places)
            called = ["--name", f"{name}.{variant.name}_s{seed}", "--experiment", name]
            words = [*layered(configs), *words, *given, *called, "--output", output]
            rests_on.append(configuration_sha256(configs))
        return Child(
            f"{variant.name}_s{seed}",
            variant.name,
            seed,
            tuple(words),
            needs,
            variant.module,
            places["here"],
            f"{places['here']}/{variant.results}" if variant.results else "",
            variant.is_stage1,
            tuple(rests_on),
        )

    for seed in seeds:
        for variant in variants:
            child = child_of(variant, seed)
            planned[child.name] = child
    return list(planned.values())


def sha256_of(*words: str) -> str:
    """The hash of words."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def layered(configs: Sequence[str]) -> list[str]:
    """Configs as they are typed."""
    return [word for config in configs for word in ("--config", config)]


@cache
def configuration_sha256(configs: tuple[str, ...]) -> str:
    """The hash of what these files say together."""
    return sha256_of(json.dumps(load_layers(configs), sort_keys=True, default=str))


def filled(part: str, places: Mapping[str, str]) -> str:
    """The part with each `{name}` that is a place replaced; other braces stay as they are."""
    return PLACE.sub(lambda found: places.get(found[1], found[0]), part)


def place_of(variant: Variant, seed: int, study: str, output: str) -> str:
    """The folder of a child: its run directory, or where another command writes."""
    if variant.module == RUN:
        return f"{output}/runs/{study}.{variant.name}_s{seed}"
    return f"{output}/studies/{study}/children/{variant.name}_s{seed}"


def words_of(settings: Mapping[str, object], places: Mapping[str, str]) -> list[str]:
    """Settings as they are typed."""
    pairs = [(f"--{key}", as_word(value, places)) for key, value in settings.items()]
    return [word for pair in pairs for word in pair]


def as_word(value: object, places: Mapping[str, str]) -> str:
    """A setting as it is typed, a place for the `{name}` that stands for it."""
    if not isinstance(value, str):
        return json.dumps(value)
    return places.get(value[1:-1], value) if value[:1] == "{" else value


def ordered(variants: Sequence[Variant]) -> list[Variant]:
    """The variants, each after those that it needs; ValueError where that cannot be."""
    named = {variant.name: variant for variant in variants}
    if odd := [name for name in named if not re.fullmatch(r"[\w-]+", name)]:
        raise ValueError(
            f"study: a variant is called {odd[0]!r}: expected letters, digits, - and _ alone"
        )
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
    """The command of a child; a run gets the tags by which its study finds it.

    One that trains goes on where it was; with given weights there is nothing to go on with.
    """
    if child.module != RUN:
        return ["-m", child.module, *child.words]
    tags = json.dumps(tags_of(child, study, parent))
    resume = () if "--weights" in child.words else ("--resume", "auto")
    return ["-m", RUN, *child.words, "--tags", tags, *resume]


def tags_of(child: Child, study: str, parent: str) -> dict[str, str]:
    """What a tracked run says of whose child it is."""
    return {
        STUDY_TAG: study,
        CHILD_TAG: child.name,
        COMMAND_TAG: child.sha256,
        PARENT_TAG: parent,
    }


def shown_command(child: Child, study: str, parent: str, *, words: Sequence[str]) -> str:
    """The command as a person or a scheduler types it.

    words: those of the study itself, which must run a child that is no run, and track it.
    """
    if child.module == RUN:
        return shlex.join(["python", *command_of(child, study, parent)])
    return shlex.join(["python", "-m", "experiments.study", *words, "--child", child.name])
