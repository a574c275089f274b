"""What a process that trains alone knows; two of them are in `test_supervision.py`."""

import torch

from lightning_modules.nets.mask_criterion import gather, mean_over_ranks, own_rows, rank_count


def test_process_that_is_alone_is_one() -> None:
    assert rank_count() == 1


def test_rows_of_all_processes_are_its_own() -> None:
    values = torch.randn(3, 2, requires_grad=True)
    assert gather(values) is values and own_rows(3) == slice(0, 3)


def test_mean_of_totals_is_its_own_and_never_zero() -> None:
    totals = torch.tensor([3.0, 0.0])
    mean = mean_over_ranks(totals)
    assert mean[0] == 3 and 0 < mean[1] < 1e-5 and totals[1] == 0
