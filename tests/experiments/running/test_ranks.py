"""Claims about what the ranks of a run decide alike."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonargparse import Namespace

from experiments.configuration import load_layers, parse_stage
from experiments.running.ranks import DECISIONS_VARIABLE, Ranks

REPOSITORY = Path(__file__).parents[3]
# Both ranks ask twice; the second question is one that the first rank refuses.
ASKING = """
import os
from experiments.configuration import load_layers, parse_stage
from experiments.running.ranks import Ranks
keys = {"name": "x", "trainer.devices": "2", "trainer.strategy": "ddp"}
ranks = Ranks(parse_stage(load_layers(["stage1_tiny.yaml"], keys)))
rank = os.environ["RANK"]
def say(words):
    os.write(1, f"rank {rank}: {words}\\n".encode())  # at once: print would mix the ranks' lines
say(ranks.decide(lambda: "the answer of " + rank))
def refuse():
    raise ValueError("no, says " + rank)
try:
    ranks.decide(refuse)
except ValueError as error:
    say(error)
"""


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """No trace of this test in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (DECISIONS_VARIABLE, "LOCAL_RANK"):
            patch.setenv(name, "")
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def stage() -> Namespace:
    return parse_stage(load_layers(["stage1_tiny.yaml"], {"name": "x"}))


def test_single_process_decides_by_itself(stage: Namespace) -> None:
    assert Ranks(stage).decide(lambda: "mine") == "mine"


def test_rank_that_the_first_one_starts_reads_its_decisions_in_order(
    stage: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Ranks(stage)
    for word in ("one", "two"):
        first.decide(lambda word=word: word)
    monkeypatch.setenv("LOCAL_RANK", "1")
    second = Ranks(stage)
    assert [second.decide(lambda: "mine") for _ in range(2)] == ["one", "two"]


def test_another_run_of_the_process_decides_anew(stage: Namespace) -> None:
    Ranks(stage).decide(lambda: "old")
    assert Ranks(stage).decide(lambda: "new") == "new"
    assert os.environ[DECISIONS_VARIABLE] == '["new"]'


def test_refusal_is_raised(stage: Namespace) -> None:
    def refuse() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Ranks(stage).decide(refuse)


@pytest.mark.slow
def test_ranks_that_torchrun_starts_get_the_first_ones_answer_and_refusal(tmp_path: Path) -> None:
    script = tmp_path / "asking.py"
    script.write_text(textwrap.dedent(ASKING))
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*words, str(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=REPOSITORY,
        # The decisions of another run, as a process that ran one before hands them on.
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
            DECISIONS_VARIABLE: '["stale", "stale", "stale"]',
        },
    )
    said = {line for line in ended.stdout.splitlines() if line.startswith("rank ")}
    words = ["the answer of 0", "no, says 0"]
    assert said == {f"rank {rank}: {word}" for rank in (0, 1) for word in words}
