"""Claims about two processes that test together: each image once, and the figures of one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.lightning_modules.shared_evaluation import evaluate, write_data
from tests.lightning_modules.small_parts import run_two

WORKER = Path(__file__).with_name("shared_evaluation.py")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one process alone has left, and then each of two."""
    folder = tmp_path_factory.mktemp("shared_evaluation")
    write_data(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two: several would add up their parts in another order
    evaluate(folder, "one")
    torch.set_num_threads(threads)
    run_two(WORKER, folder)
    return [json.loads((folder / f"{n}.json").read_text()) for n in ("one_0", "two_0", "two_1")]


@pytest.mark.slow
def test_each_image_is_tested_once_though_one_process_has_fewer(
    evaluated: list[dict[str, Any]],
) -> None:
    one, first, second = (notes["rows"] for notes in evaluated)
    assert len(first) == len(second) + 1
    assert sorted(first + second) == one


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["figures", "curves"])
def test_two_processes_have_the_figures_and_curves_of_one_to_the_last_bit(
    evaluated: list[dict[str, Any]], kind: str
) -> None:
    one, first, second = (notes[kind] for notes in evaluated)
    assert repr(first) == repr(second) == repr(one)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iou_image", "pixel_auroc", "aupro", "recall_small"])
def test_figures_that_agree_are_not_all_nothing(evaluated: list[dict[str, Any]], name: str) -> None:
    figures = evaluated[0]["figures"]
    assert 0 < figures[f"mask/test/{name}"] < 1
