"""Holds DMAD to its losses and scores, and that it learns."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.dmad import Dmad
from lightning_modules.equations.anomaly_maps import blurred
from lightning_modules.equations.deformation import deformation_loss, magnitude, warp_twice
from lightning_modules.equations.distillation import distillation_loss, distillation_map
from tests.lightning_modules.small_parts import (
    NAMES,
    SIDE_PX,
    LossRecord,
    batch_of,
    quiet_trainer,
)

small_dmad = partial(
    Dmad,
    weights="random",
    model_name="test_resnet",
    offset_width=4,
    blur_sigma_px=2.0,
    image_size_px=SIDE_PX,
)


def striped_batch(seed: int = 0) -> Batch:
    """Four good images, stripes with noise of their own."""
    noise = torch.randn(4, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(seed))
    stripes = 0.4 * torch.sin(torch.arange(SIDE_PX) / 3)[:, None]
    image = stripes + 0.05 * noise
    return batch_of(torch.zeros(4, SIDE_PX, SIDE_PX, dtype=torch.int64), image=image)


def fit(model: Dmad, folder: Path, *, steps: int, epochs: int = 1) -> LossRecord:
    """The losses of so many steps an epoch on good images."""
    record, parts = LossRecord(), [striped_batch(seed) for seed in range(steps)]
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    trainer = quiet_trainer(folder, max_epochs=epochs, callbacks=[record])
    trainer.fit(model.train(), DataLoader(parts, batch_size=None))  # type: ignore[arg-type]
    model.eval()
    return record


def still(model: Dmad) -> Dmad:
    """The model with offsets of nothing."""
    for head in model.offsets.heads:
        for name in ("weight", "bias"):
            torch.nn.init.zeros_(getattr(head[-2], name))  # type: ignore[index]
    return model


def seen_through(model: Dmad, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What the teacher and the student make of an image as it stands."""
    taught = model.features.backbone(image)
    return taught, model.decoder(model.bottleneck(taught)[0])


@pytest.mark.parametrize("kind", ["plain", "quantised"])
def test_loss_is_that_of_bent_images_their_bending_and_the_codes(kind: str) -> None:
    torch.manual_seed(0)
    model, batch = small_dmad(bottleneck=kind).eval(), striped_batch()
    model.log_dict = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    loss = model.training_step(batch, 0)
    image = model.features.pixels(batch.image)
    forth, back = model.offsets(image)
    bent = warp_twice(image, *forth)
    taught, recalled = seen_through(model, bent)
    codes = model.bottleneck(taught)[1]
    expected = distillation_loss(taught, recalled) + codes
    torch.testing.assert_close(loss, expected + deformation_loss(image, bent, forth, back))
    assert (codes > 0) == (kind == "quantised") and not torch.equal(bent, image)


def test_offsets_learn_through_the_frozen_teacher() -> None:
    torch.manual_seed(0)
    model = small_dmad().train()
    image = model.features.pixels(striped_batch().image)
    forth, _ = model.offsets(image)
    loss = distillation_loss(*seen_through(model, warp_twice(image, *forth)))
    loss.backward()
    [weight] = [one for name, one in model.offsets.named_parameters() if name == "heads.0.9.weight"]
    assert weight.grad is not None and weight.grad.abs().max() > 0
    assert not model.features.training
    assert not any(one.requires_grad for one in model.features.parameters())


@pytest.mark.parametrize("kind", ["plain", "quantised"])
def test_learns_good_images_and_leaves_the_teacher(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_dmad(bottleneck=kind)
    before = {name: one.clone() for name, one in model.features.state_dict().items()}
    record = fit(model, tmp_path, steps=30)
    assert record.mean(25, 30) < 0.6 * record.mean(0, 3)
    assert all(one.equal(before[name]) for name, one in model.features.state_dict().items())


def test_without_offsets_the_map_is_what_the_student_does_not_know() -> None:
    torch.manual_seed(0)
    model, batch = still(small_dmad()).eval(), striped_batch()
    unknown, moved = model.maps_of(batch.image).unbind(1)
    pairs = seen_through(model, model.features.pixels(batch.image))
    expected = blurred(distillation_map(*pairs, SIDE_PX), 2.0)[:, 0]
    torch.testing.assert_close(unknown, expected, atol=1e-4, rtol=1e-4)
    assert moved.abs().max() == 0


def test_map_is_brought_back_and_offsets_have_a_map_of_their_own() -> None:
    torch.manual_seed(0)
    model, batch = small_dmad().eval(), striped_batch()
    image = model.features.pixels(batch.image)
    forth, (coarse, fine) = model.offsets(image)
    pairs = seen_through(model, warp_twice(image, *forth))
    unknown = warp_twice(distillation_map(*pairs, SIDE_PX), fine, coarse)
    expected = torch.cat([unknown, magnitude((coarse, fine))], dim=1)
    torch.testing.assert_close(model.maps_of(batch.image), blurred(expected, 2.0))


def test_ranges_are_those_of_good_training_images_and_weigh_both_maps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_dmad(deformation_weight=0.25)
    fit(model, tmp_path, steps=3)
    seen = model.maps_of(torch.cat([striped_batch(seed).image for seed in range(3)]))
    lowest, highest = seen.amin((0, 2, 3)), seen.amax((0, 2, 3))
    torch.testing.assert_close(model.lowest, lowest, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.highest, highest, atol=1e-5, rtol=1e-4)
    image = striped_batch(99).image
    unit = (model.maps_of(image) - lowest.view(2, 1, 1)) / (highest - lowest).view(2, 1, 1)
    maps, scores = model.score(image)
    torch.testing.assert_close(maps, unit[:, 0] + 0.25 * unit[:, 1], atol=1e-3, rtol=1e-3)
    peaks = unit.amax((2, 3))
    torch.testing.assert_close(scores, peaks[:, 0] + 0.25 * peaks[:, 1], atol=1e-3, rtol=1e-3)


def test_rate_falls_by_a_cosine_of_the_epochs(tmp_path: Path) -> None:
    model = small_dmad(base_learning_rate=1.0)
    model.trainer = quiet_trainer(tmp_path, max_epochs=4)
    scheduler = model.configure_optimizers()["lr_scheduler"]["scheduler"]
    assert scheduler.optimizer.defaults["betas"] == (0.5, 0.999)
    rates = []
    for _ in range(4):
        rates.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    model.trainer = quiet_trainer(tmp_path, max_epochs=-1)
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs"):
        model.configure_optimizers()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"image_size_px": 80}, "image_size_px is 80: expected a multiple of 32"),
        ({"bottleneck": "narrow"}, "bottleneck is 'narrow': expected plain or quantised"),
        ({"layers": ("layer2", "layer3")}, r"strides \(8, 16\): expected three layers"),
        ({"layers": ("layer9",)}, "test_resnet has no layer 'layer9'"),
        ({"weights": ""}, "the backbone has no weights"),
    ],
)
def test_setting_that_is_none_is_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        small_dmad(**settings)
    assert "\n" not in str(caught.value)
