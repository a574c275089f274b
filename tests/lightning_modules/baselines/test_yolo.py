"""Holds the detector's training, targets and predictions to what they promise."""

import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.yolo import Yolo, truth_of
from lightning_modules.equations.box_losses import BINS
from lightning_modules.metrics.detection import DetectionMetrics
from tests.lightning_modules.small_parts import FourImages, batch_of, quiet_trainer

VOCABULARY = Vocabulary.from_names(["crack", "stain"])
small_yolo = partial(Yolo, class_count=3, size="n", image_size_px=128)


def two_boxes() -> Batch:
    """A grey image of 128 px with a bright crack and a dark stain."""
    image, mask = torch.full((1, 3, 128, 128), 0.1), torch.zeros(1, 128, 128, dtype=torch.int64)
    image += 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    for class_id, value, rows, columns in (
        (1, 0.9, slice(16, 56), slice(12, 40)),
        (2, -0.9, slice(70, 94), slice(60, 116)),
    ):
        image[:, :, rows, columns] = value
        mask[:, rows, columns] = class_id
    return batch_of(mask, image=image)


class OneImage(FourImages):
    """The one image of `two_boxes`, again and again."""

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader([two_boxes()] * self.steps_per_epoch, batch_size=None)  # type: ignore[arg-type]


def ready(**settings: object) -> Yolo:
    """A small detector that asks for cracks and stains."""
    torch.manual_seed(0)
    model = small_yolo(**settings)  # type: ignore[arg-type]
    model.set_vocabulary(VOCABULARY)
    return model.eval()


def sure_of_two(model: Yolo) -> Yolo:
    """The detector, whose net has found two boxes in any image of 128 px, one of them unlikely."""
    names, sides = torch.full((1, 336, 2), -20.0), torch.zeros(1, 336, 4, BINS)
    for place, class_id, logit in ((17, 0, 3.0), (200, 1, -3.0)):
        names[0, place, class_id] = logit
        sides[0, place, :, 1] = 100.0

    def answer(images: Tensor) -> tuple[Tensor, Tensor]:
        return names.expand(len(images), -1, -1), sides.expand(len(images), -1, -1, -1)

    model.net.forward = answer  # type: ignore[method-assign]
    return model


def test_finds_the_boxes_of_the_image_that_it_learned(tmp_path: Path) -> None:
    model = ready(
        warmup_epochs=0.1, nominal_batch_size=4, mosaic_probability=0.0, mixup_probability=0.0
    )
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.3  # in few steps
    quiet_trainer(tmp_path, gradient_clip_val=10.0).fit(model.train(), OneImage(35))
    metrics = DetectionMetrics(VOCABULARY.names)
    metrics.update(model.eval().predict_step(two_boxes(), 0), two_boxes())
    assert float(metrics.compute()["box_map_50"]) > 0.9


def test_targets_are_the_boxes_of_each_types_regions() -> None:
    mask = torch.zeros(32, 32, dtype=torch.int64)
    mask[2:6, 3:9], mask[6:12, 3:9], mask[20:25, 20:31] = 2, 1, 1
    truth = truth_of(mask)
    pairs = zip(truth.class_ids.tolist(), truth.boxes.tolist(), strict=True)
    assert sorted(pairs) == [(0, [3, 6, 9, 12]), (0, [20, 20, 31, 25]), (1, [3, 2, 9, 6])]
    assert not len(truth_of(torch.zeros_like(mask)).boxes)


def test_shows_the_boxes_over_their_thresholds_and_counts_all(tmp_path: Path) -> None:
    model, batch = sure_of_two(ready()), two_boxes()
    sure, unlikely = model.predict_step(batch, 0)[0].instances
    assert sure.class_id == 1 and sure.box_xywh_px == (4, 4, 16, 16)
    assert unlikely.class_id == 2 and unlikely.score == pytest.approx(0.047, abs=1e-3)
    assert [one.box_xywh_px for one in model.predict_images(batch.image)[0].instances] == [
        sure.box_xywh_px
    ]
    batch.mask[:] = 0
    left, top, width, height = unlikely.box_xywh_px
    batch.mask[0, top : top + height, left : left + width] = 2
    trainer = quiet_trainer(tmp_path)
    trainer.test(model, DataLoader([batch], batch_size=None), verbose=False)  # type: ignore[arg-type]
    assert float(trainer.callback_metrics["mask/test/box_map"]) == 1.0


def test_maps_of_squares_are_those_of_the_predictions() -> None:
    model, batch = sure_of_two(ready()), two_boxes()
    maps, answers = model.score_tiles(batch.image)
    prediction = model.predict_step(batch, 0)[0]
    assert maps.shape == (1, 2, 128, 128)
    assert maps[0].amax(0).equal(prediction.anomaly_map)
    assert maps[0, 0].amax() == prediction.image_score and answers[0].equal(prediction.type_scores)


class Rates(Callback):
    """The rates of the three groups, and the momentum, at each step."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_before_optimizer_step(self, *arguments: Any) -> None:
        """Note them."""
        groups = arguments[-1].param_groups
        self.seen.append([*(group["lr"] for group in groups), groups[0]["momentum"]])


def test_rates_and_momentum_warm_up_and_the_rate_ends_at_its_share(tmp_path: Path) -> None:
    model, rates = ready(warmup_epochs=0.5), Rates()
    quiet_trainer(tmp_path, callbacks=[rates]).fit(model.train(), OneImage(8))
    assert rates.seen[0] == pytest.approx([0, 0, 0.1, 0.8])
    assert rates.seen[2] == pytest.approx([0.005, 0.005, 0.055, 0.8685])
    assert rates.seen[4] == pytest.approx([0.01, 0.01, 0.01, 0.937])
    last = 1e-5 + (1e-2 - 1e-5) * 0.5 * (1 + math.cos(math.pi * 3 / 4))
    assert rates.seen[7] == pytest.approx([last, last, last, 0.937])


def test_only_matrices_of_convolutions_decay(tmp_path: Path) -> None:
    model = ready()
    trainer = quiet_trainer(tmp_path)
    trainer.fit(model.train(), OneImage(1))
    decayed, *others = trainer.optimizers[0].param_groups
    assert all(weight.ndim == 4 for weight in decayed["params"])
    assert not any(group["weight_decay"] for group in others)
    assert all(weight.ndim == 1 for group in others for weight in group["params"])
    count = sum(len(group["params"]) for group in trainer.optimizers[0].param_groups)
    assert count == sum(weight.requires_grad for weight in model.parameters())


def test_squares_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="have 128 px and the model's image_size_px is 64"):
        quiet_trainer(tmp_path).fit(ready(image_size_px=64), OneImage(1))


def test_last_epochs_show_the_images_as_they_are() -> None:
    model, images = ready(plain_epochs=2), torch.rand(4, 3, 32, 32)
    truths = [truth_of(torch.zeros(32, 32, dtype=torch.int64))] * 4
    for epoch, is_plain in ((7, False), (8, True)):
        model._trainer = SimpleNamespace(max_epochs=10, current_epoch=epoch)  # type: ignore[assignment]
        mixed, _ = model.mix(images, truths, seed=0)
        assert mixed.equal(images) == is_plain
