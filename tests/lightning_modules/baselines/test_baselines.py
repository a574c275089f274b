"""One suite over every file in lightning_modules/baselines, so that a new one is tested unasked."""

import importlib
from inspect import signature
from pathlib import Path

import pytest
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader

from datamodules.vocabulary import Vocabulary
from lightning_modules import baselines
from lightning_modules.baselines.constant import Constant
from lightning_modules.baselines.unet import Unet
from lightning_modules.segmentation_module import SegmentationModule
from tests.lightning_modules.small_parts import NAMES, defect_batch, quiet_trainer, save, train

FILES = sorted(
    path.stem for path in Path(baselines.__path__[0]).glob("*.py") if path.stem != "__init__"
)
VOCABULARY = Vocabulary.from_names(NAMES)


def class_of(name: str) -> type[SegmentationModule]:
    """The class of a file: its CamelCase."""
    kind = "".join(word.capitalize() for word in name.split("_"))
    return getattr(importlib.import_module(f"{baselines.__name__}.{name}"), kind)


def build(name: str) -> SegmentationModule:
    """The baseline with its defaults, for the classes of VOCABULARY."""
    torch.manual_seed(0)
    kind = class_of(name)
    closed = "class_count" in signature(kind).parameters
    settings = {"class_count": len(VOCABULARY)} if closed else {}
    model = kind(**settings)  # type: ignore[arg-type]
    model.set_vocabulary(VOCABULARY)
    return model.eval()


every_baseline = pytest.mark.parametrize("name", FILES)


@every_baseline
@pytest.mark.parametrize("size", [(128, 128), (40, 200), (150, 131)])
def test_predictions_have_the_images_size(name: str, size: tuple[int, int]) -> None:
    batch = defect_batch()
    batch.image = torch.nn.functional.interpolate(batch.image[:2], size)
    answers = build(name).predict_step(batch, 0)
    assert len(answers) == 2
    for answer in answers:
        assert answer.label_map.shape == answer.anomaly_map.shape == size
        assert answer.label_map.dtype == torch.int64


@every_baseline
def test_restored_baseline_answers_the_same(name: str, tmp_path: Path) -> None:
    model, batch = build(name), defect_batch()
    saved = save(model, tmp_path / "one.ckpt")
    fresh = build(name)
    for weight in fresh.parameters():
        torch.nn.init.zeros_(weight)
    fresh.restore(saved)
    pairs = zip(fresh.predict_step(batch, 0), model.predict_step(batch, 0), strict=True)
    assert all(one.anomaly_map.equal(other.anomaly_map) for one, other in pairs)
    assert saved.stage == model.stage and fresh.vocabulary == model.vocabulary


@every_baseline
def test_batch_without_known_masks_has_a_finite_loss(name: str) -> None:
    model, batch = build(name).train(), defect_batch()
    if not is_overridden("training_step", model):
        pytest.skip("learns nothing")
    batch.has_mask[:] = False
    batch.class_ids = [(1,), (2,), (1,), (2,)]
    loss = model.training_step(batch, 0)
    assert torch.isfinite(loss)


@pytest.mark.parametrize("type_name", ["good", "stain"])
def test_constant_says_the_same_of_every_image(type_name: str) -> None:
    model = Constant(type_name)
    model.set_vocabulary(VOCABULARY)
    answers = model.predict_step(defect_batch(), 0)
    assert {answer.type_id for answer in answers} == {VOCABULARY.id_of(type_name)}
    assert all(answer.label_map.max() == 0 for answer in answers)


def test_constant_of_an_unknown_type_names_the_nearest() -> None:
    model = Constant("stian")
    model.set_vocabulary(VOCABULARY)
    with pytest.raises(ValueError, match="did you mean stain"):
        model.predict_step(defect_batch(), 0)


def test_unet_of_another_class_count_says_which_to_set() -> None:
    with pytest.raises(ValueError, match=r"set model.init_args.class_count to 3"):
        Unet(class_count=6).set_vocabulary(VOCABULARY)


def test_unet_refuses_other_names_for_its_closed_list(tmp_path: Path) -> None:
    model = build("unet")
    model.restore(save(model, tmp_path / "one.ckpt"))
    with pytest.raises(ValueError, match="closed list"):
        model.set_vocabulary(Vocabulary.from_names(["burr", "dent"]))


def test_unet_loss_falls_on_four_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Unet(class_count=3, warmup_steps=2)
    model.set_vocabulary(VOCABULARY)
    record = train(model, tmp_path, steps=15)
    assert record.mean(12, 15) < 0.7 * record.mean(0, 3)


@pytest.mark.parametrize("within_fit", [True, False])
def test_thresholds_move_after_the_fit_and_not_within(within_fit: bool, tmp_path: Path) -> None:
    model, images = build("unet"), DataLoader([defect_batch()], batch_size=None)  # type: ignore[arg-type]
    trainer = quiet_trainer(tmp_path, max_epochs=-1, max_steps=1)
    if within_fit:
        trainer.fit(model, images, images)
        assert model.calibration is None and model.post_processing.points.image == 0.5
    else:
        trainer.validate(model, images, verbose=False)
        assert model.calibration is not None
        assert model.post_processing.points.image == model.calibration.image.threshold != 0.5
