"""Training killed with SIGKILL at random places and resumed, beside the same training unbroken.

Compared to the bit: weights, their average, optimizer, schedule, random states, and of each batch
its rows, loss and learning rate. `--repeats` is the number of kills.
"""

import random
import tempfile
from pathlib import Path

from experiments.measuring.killed_run import Journey, differences, leaves
from experiments.measuring.measurements import BenchSettings, Measurement

VERB = "kills"
KILLS_PER_JOURNEY = 3


def measure(settings: BenchSettings) -> list[Measurement]:
    """How many of the kills, and of the journeys with some, left no trace in the result."""
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        unbroken = Journey(Path(folder) / "unbroken")
        if unbroken.finish() != 0:
            raise RuntimeError(f"the unbroken training failed: {unbroken.output()}")
        words: dict[str, str | int | float] = {
            "batches in a training": len(unbroken.notes()),
            "values compared": len(list(leaves(unbroken.newest_checkpoint()))),
        }
        hits, survived, journeys, whole = 0, 0, 0, 0
        while hits < settings.repeats:
            journey = Journey(Path(folder) / f"journey{journeys}")
            kills = journey.kill_often(dice, min(KILLS_PER_JOURNEY, settings.repeats - hits))
            if not kills:
                continue
            ended = journey.directory.joinpath("results.json").is_file()
            code = 0 if ended else journey.finish("--resume", "auto")
            is_same = code == 0 and not differences(unbroken, journey)
            hits, journeys = hits + kills, journeys + 1
            survived, whole = survived + is_same * kills, whole + is_same
    return [
        row("kills: survived without a trace, of those tried", survived, hits, words),
        row("kills: trainings that ended bit by bit alike", whole, journeys, words),
    ]


def row(name: str, ours: int, tried: int, words: dict[str, str | int | float]) -> Measurement:
    """One count of `tried`."""
    return Measurement(name, float(ours), float(tried), "", ours / tried, 1.0, words)
