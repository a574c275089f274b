"""Holds the noise schedule's ends, index and kinds."""

import pytest
import torch

from lightning_modules.nets.diffusion_model import NoiseSchedule


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_alpha_bar_falls_from_one_towards_zero(kind: str) -> None:
    alpha_bar = NoiseSchedule(kind=kind).alpha_bar
    assert alpha_bar.shape == (1001,) and alpha_bar[0] == 1
    assert (alpha_bar.diff() < 0).all() and 0 < alpha_bar[-1] < 1e-4


def test_default_is_table_2() -> None:
    schedule = NoiseSchedule()
    assert schedule.diffusion_steps == 1000
    assert schedule.alpha_bar[1].item() == pytest.approx(1 - 1e-4)
    assert (schedule.alpha_bar[-1] / schedule.alpha_bar[-2]).item() == pytest.approx(1 - 2e-2, 1e-4)


def test_schedule_is_no_part_of_a_checkpoint() -> None:
    assert not NoiseSchedule().state_dict()


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'square': expected linear or cosine"):
        NoiseSchedule(kind="square")


def test_alpha_bar_is_exact_to_float32() -> None:
    betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    expected = torch.cumprod(1 - betas, 0).float()
    torch.testing.assert_close(NoiseSchedule().alpha_bar[1:], expected, rtol=1e-6, atol=0)
