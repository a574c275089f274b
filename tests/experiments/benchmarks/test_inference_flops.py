"""The work of an image through stage 2 is what it is known to be; counted, not timed."""

import pytest

from experiments.benchmarks.inference_flops import (
    KNOWN_ANCESTOR_TF,
    KNOWN_PASSES_TF,
    KNOWN_STAGES_TF,
    ImageWork,
    count_image,
)


@pytest.fixture(scope="module")
def work() -> ImageWork:
    """The work of stage2.yaml at 512 px."""
    return count_image()


@pytest.mark.parametrize("stage", [name for name in KNOWN_STAGES_TF if name != "pyramid"])
def test_stage_costs_what_it_is_known_to(work: ImageWork, stage: str) -> None:
    # One token of text in place of 77, and no grid sampling, are a little less.
    assert work.stages[stage] == pytest.approx(KNOWN_STAGES_TF[stage], rel=0.04)


def test_ancestor_decodes_and_denoises_to_the_end(work: ImageWork) -> None:
    assert work.ancestor == pytest.approx(KNOWN_ANCESTOR_TF, rel=0.01)


@pytest.mark.parametrize("name", KNOWN_PASSES_TF)
def test_way_to_features_spares_what_it_can(work: ImageWork, name: str) -> None:
    limit = KNOWN_ANCESTOR_TF / KNOWN_PASSES_TF[name]
    assert work.ancestor / work.passes[name] == pytest.approx(limit, rel=0.01)


def test_heads_are_a_small_share_of_the_whole(work: ImageWork) -> None:
    heads = set(work.stages) - set(list(KNOWN_STAGES_TF)[:4])
    assert len(heads) == 3
    assert 0 < sum(work.stages[name] for name in heads) < 0.06 * sum(work.stages.values())
