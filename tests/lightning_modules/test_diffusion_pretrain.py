"""Holds stage 1: it learns, what is frozen stays, conditions are drawn in their shares."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from lightning_modules.diffusion_pretrain import DiffusionPretrain, crop_to_multiple
from lightning_modules.nets.diffusion_model import IMPLICIT, NULL, TEXT
from tests.lightning_modules.small_parts import FourImages, defect_batch, small_diffusion, train


def small_pretrain(**settings: float) -> DiffusionPretrain:
    torch.manual_seed(0)
    module = DiffusionPretrain(small_diffusion(), **settings)  # type: ignore[arg-type]
    module.measure(defect_batch().image)
    return module


def loss_of(module: DiffusionPretrain) -> float:
    """The weighted loss of the four images under 16 fixed draws of noises and times."""
    module.log_dict = lambda named: None  # type: ignore[method-assign]
    with torch.no_grad():
        losses = [module.training_step(defect_batch(1000 + turn), 0) for turn in range(16)]
    return sum(map(float, losses)) / len(losses)


def attach(module: DiffusionPretrain) -> DiffusionPretrain:
    """The module with as much of a trainer as it asks outside of a fit."""
    data = SimpleNamespace(
        vocabulary=FourImages(1).vocabulary,
        train_transform=SimpleNamespace(size_px=64),
        batches_per_epoch=lambda process_count: 20,
    )
    module._trainer = SimpleNamespace(  # type: ignore[assignment]
        datamodule=data, max_steps=100_000, max_epochs=None, world_size=1
    )
    module.image_size_px = 64
    return module


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[float, dict[str, Tensor], DiffusionPretrain]:
    """The loss before, the state before, and the module after 50 steps on four images."""
    module = small_pretrain(base_learning_rate=3e-3, warmup_steps=5)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    loss = loss_of(module)
    train(module, tmp_path_factory.mktemp("fit"), steps=50)
    return loss, before, module


def test_loss_falls_on_four_images_in_50_steps(
    trained: tuple[float, dict[str, Tensor], DiffusionPretrain],
) -> None:
    before, _, module = trained
    assert loss_of(module) < 0.8 * before


def test_training_moves_denoiser_captioner_and_image_tower_and_nothing_frozen(
    trained: tuple[float, dict[str, Tensor], DiffusionPretrain],
) -> None:
    _, before, module = trained
    moved = {name for name, value in module.state_dict().items() if not value.equal(before[name])}
    parts = {name.split(".")[1] for name in moved}
    assert parts == {"denoiser", "captioner", "image_encoder"}
    unmoved = {name for name, weight in module.named_parameters() if weight.requires_grad} - moved
    assert not unmoved


@pytest.mark.parametrize(
    ("null_probability", "shares"),
    [(0.1, {TEXT: 0.45, IMPLICIT: 0.45, NULL: 0.1}), (0.0, {TEXT: 0.5, IMPLICIT: 0.5, NULL: 0})],
)
def test_conditions_are_drawn_in_their_shares(
    null_probability: float, shares: dict[int, float], seed: int
) -> None:
    choice = small_pretrain(null_probability=null_probability).choice_of(torch.rand(40_000))
    for kind, share in shares.items():
        assert (choice == kind).float().mean().item() == pytest.approx(share, abs=0.01)


def logged(module: DiffusionPretrain, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the module logs from now on, by name; the last value of each."""
    values: dict[str, float] = {}

    def note(named: dict[str, Tensor], **_: object) -> None:
        values.update({name: float(value) for name, value in named.items()})

    monkeypatch.setattr(module, "log_dict", note)
    monkeypatch.setattr(module, "log", lambda name, value, **_: note({name: value}))
    return values


def test_loss_is_noise_plus_03_implicit_text(monkeypatch: pytest.MonkeyPatch) -> None:
    module = small_pretrain()
    values = logged(module, monkeypatch)
    loss = module.training_step(defect_batch(), 0).item()
    parts = (values[f"pretrain/train/{name}"] for name in ("loss_diff", "loss_imp"))
    assert loss == pytest.approx(next(parts) + 0.3 * next(parts))


def test_draws_follow_from_each_samples_own_seed() -> None:
    module, z_0 = small_pretrain(), torch.zeros(4, 3, 2, 2)
    whole = module.draw([7, 8, 9, 10], z_0, times=(1, 1000))
    part = module.draw([9, 10], z_0[2:], times=(1, 1000))
    assert all(drawn[2:].equal(again) for drawn, again in zip(whole, part, strict=True))
    assert not whole[2][0].equal(whole[2][1])


@pytest.mark.parametrize(("turned", "found"), [(0, 1.0), (2, 0.5)])
def test_validation_tells_the_loss_by_times_and_how_many_captions_are_found(
    turned: int, found: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, batch = small_pretrain(), defect_batch()
    meant = module.diffusion.text_encoder(batch.captions).pooled.roll(turned, 0)
    monkeypatch.setattr(module.diffusion, "caption_of", lambda _: meant)
    logs = logged(module, monkeypatch)
    with torch.no_grad():
        module.validation_step(batch, 0)
        module.on_validation_epoch_end()
    values = {name.removeprefix("pretrain/val/"): value for name, value in logs.items()}
    bins = [value for name, value in values.items() if name.startswith("loss_diff_t")]
    assert len(bins) == 10 and values["loss_diff"] == pytest.approx(sum(bins) / 10)
    assert values["loss_diff"] == pytest.approx(1, abs=0.05)
    assert values["retrieval_top1"] == pytest.approx(found)
    assert values["retrieval_chance_top1"] == pytest.approx(1 / 3)


def test_crop_takes_the_middle_multiple() -> None:
    image = torch.arange(7.0).view(1, 1, 1, 7).expand(1, 1, 4, 7)
    assert crop_to_multiple(image, 4)[0, 0, 0].tolist() == [1, 2, 3, 4]


def test_image_under_one_stride_is_refused() -> None:
    with pytest.raises(ValueError, match=r"20 x 64 px: expected at least 32"):
        crop_to_multiple(torch.zeros(1, 3, 20, 64), 32)


def test_generated_images_have_training_size_and_range_and_repeat() -> None:
    module = attach(small_pretrain())
    captions = ["steel with crack", "steel, no defect"]
    one, again, other = (module.generate(captions, seed=s, steps=2) for s in (0, 0, 1))
    assert one.shape == (2, 3, 64, 64) and one.abs().max() <= 1
    assert one.equal(again) and not one.equal(other)


def test_optimizer_starts_at_the_warm_up_rate_and_holds_what_learns() -> None:
    module = attach(small_pretrain(base_learning_rate=1e-4))
    optimizer = module.configure_optimizers()["optimizer"]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-6)
    held = {id(w) for group in optimizer.param_groups for w in group["params"]}
    assert held == {id(w) for w in module.parameters() if w.requires_grad}


@pytest.mark.gpu
def test_batch_for_a_gpu_is_pinned_and_draws_are_the_cpus() -> None:
    module, batch = small_pretrain(), defect_batch().pin_memory()
    assert batch.image.is_pinned() and batch.captions == defect_batch().captions
    drawn = [
        module.draw([7, 8], torch.zeros(2, 3, 2, 2).to(d), times=(1, 9)) for d in ("cpu", "cuda")
    ]
    assert all(one.equal(other.cpu()) for one, other in zip(*drawn, strict=True))
