"""One suite over every file in lightning_modules/baselines, so that a new one is tested unasked."""

import importlib
from copy import deepcopy
from functools import cache
from inspect import signature
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader

from datamodules.sample import Batch, Prediction
from datamodules.vocabulary import Vocabulary
from lightning_modules import baselines
from lightning_modules.anomaly_module import AnomalyModule, fit_curve, to_unit
from lightning_modules.baselines.constant import Constant
from lightning_modules.baselines.memory_bank import MemoryBank
from lightning_modules.baselines.musc import Musc, fingerprint
from lightning_modules.baselines.unet import Unet
from lightning_modules.baselines.yolo import Yolo
from lightning_modules.nets.autoencoder import DctAutoencoder
from lightning_modules.nets.diffusion_model import NoiseSchedule
from lightning_modules.nets.image_encoder import resized
from lightning_modules.nets.patch_tokens import ConvolutionalTokens
from lightning_modules.segmentation_module import SegmentationModule
from tests.lightning_modules.small_parts import (
    NAMES,
    SIDE_PX,
    batch_of,
    defect_batch,
    quiet_trainer,
    save,
    small_denoiser,
    train,
)
from tests.lightning_modules.small_weights import write_small_clip, write_small_qwen

FILES = sorted(
    path.stem for path in Path(baselines.__path__[0]).glob("*.py") if path.stem != "__init__"
)
VOCABULARY = Vocabulary.from_names(NAMES)


def class_of(name: str) -> type[SegmentationModule]:
    """The class of a file: its CamelCase."""
    kind = "".join(word.capitalize() for word in name.split("_"))
    return getattr(importlib.import_module(f"{baselines.__name__}.{name}"), kind)


# What a class with such a setting is given: nothing is fetched, and a test takes no minute.
SMALL = {
    "class_count": len(VOCABULARY),
    "size": "n",
    "weights": "random",
    "model_name": "test_resnet",
    "image_size_px": SIDE_PX,
    "vectors": 200,
    "width": 4,
    "offset_width": 4,
    "embedding_width": 96,
    "hidden_width": 32,
    "noise_deviation": 0.05,
    "base_learning_rate": 1e-2,
    "discriminator_learning_rate": 1e-2,
    "blur_sigma_px": 2.0,
    "most_tokens": 8,
    "reverse_steps": 2,
    "gallery_layers": (0, 1),
    "shots": 12,
}
# Epochs of three batches until it knows good parts, of one that learns them by gradients.
EPOCHS = {"dmad": 8, "simple_net": 20}


@cache
def pretrained_folder(name: str) -> str:
    """A folder with the random and small model that a baseline takes as it is."""
    write = write_small_qwen if name == "vision_language" else write_small_clip
    return str(write(Path(mkdtemp())))


def small(name: str, **settings: object) -> SegmentationModule:
    """The baseline at its smallest, for the classes of VOCABULARY; it has learned nothing."""
    torch.manual_seed(0)
    kind = class_of(name)
    known = signature(kind).parameters
    given = {key: value for key, value in SMALL.items() if key in known}
    if "pretrained" in known:
        given["pretrained"] = pretrained_folder(name)
    if "tokens" in known:
        given["tokens"] = ConvolutionalTokens("random", "test_resnet", ("layer2",))
    if "schedule" in known:
        given |= {"autoencoder": DctAutoencoder(), "denoiser": small_denoiser}
        given["schedule"] = NoiseSchedule(100, "cosine")
    if "encoder_name" in known:
        given.pop("weights")
    model = kind(**given | settings)  # type: ignore[arg-type]
    model.load()
    model.measure(defect_batch().image)
    model.set_vocabulary(VOCABULARY)
    return model.eval()


def good_batch(seed: int = 0) -> Batch:
    """Four good images as those of `defect_batch`, each with noise of its own."""
    noise = torch.randn(4, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(seed))
    return batch_of(torch.zeros(4, SIDE_PX, SIDE_PX, dtype=torch.int64), image=0.1 + 0.02 * noise)


def loader(*batches: Batch) -> DataLoader[Batch]:
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]


def build(name: str) -> SegmentationModule:
    """The baseline at its smallest; one that learns from good parts has seen some."""
    return deepcopy(learned(name))


@cache
def learned(name: str) -> SegmentationModule:
    """What `build` copies."""
    model = small(name)
    if isinstance(model, AnomalyModule):
        fit(model, Path(mkdtemp()), EPOCHS.get(name, 1))
        model.trainer = None
    return model.eval()


def fit(model: SegmentationModule, folder: Path, epochs: int = 1) -> None:
    """Trains it on three batches of good parts."""
    parts = loader(*(good_batch(seed) for seed in range(1, 4)))
    quiet_trainer(folder, max_epochs=epochs).fit(model.train(), parts)


def skip_what_learns_slowly(name: str) -> None:
    if name == "ddpm_reconstruction":
        pytest.skip("its file has a denoiser that knows good parts; to learn one takes minutes")


def predictions(model: SegmentationModule, batch: Batch) -> list[Prediction]:
    """What it says of a batch, after it looked at that and at good parts."""
    model.look_at([*batch.image, *good_batch(7).image])
    return model.predict_step(batch, 0)


every_baseline = pytest.mark.parametrize("name", FILES)
every_one_of_good_parts = pytest.mark.parametrize(
    "name", [name for name in FILES if issubclass(class_of(name), AnomalyModule)]
)


@every_baseline
@pytest.mark.parametrize("size", [(128, 128), (40, 200), (150, 131)])
def test_predictions_have_the_images_size(name: str, size: tuple[int, int]) -> None:
    batch = defect_batch()
    batch.image = torch.nn.functional.interpolate(batch.image[:2], size)
    answers = predictions(build(name), batch)
    assert len(answers) == 2
    for answer in answers:
        assert answer.label_map.shape == answer.anomaly_map.shape == size
        assert answer.label_map.dtype == torch.int64


@every_one_of_good_parts
def test_score_of_an_image_is_what_the_system_says_and_no_peak_beside_it(name: str) -> None:
    model, batch = build(name), defect_batch()
    told = [answer.image_score for answer in predictions(model, batch)]
    if isinstance(model, Musc):
        raw = torch.stack([model._found[fingerprint(image)][1] for image in batch.image])
    else:
        raw = model.score(resized(batch.image, model.tile_px))[1]
    assert told == pytest.approx(to_unit(raw, model.image_curve).tolist(), abs=1e-4)


@every_one_of_good_parts
def test_training_squares_of_another_size_are_refused(name: str, tmp_path: Path) -> None:
    batch = batch_of(torch.zeros(4, 40, 40, dtype=torch.int64), image=torch.zeros(4, 3, 40, 40))
    with pytest.raises(ValueError, match="expected one size: set"):
        quiet_trainer(tmp_path, max_epochs=1).fit(small(name).train(), loader(batch))


@every_baseline
def test_restored_baseline_answers_the_same(name: str, tmp_path: Path) -> None:
    model, batch = build(name), defect_batch()
    saved = save(model, tmp_path / "one.ckpt")
    fresh = small(name)
    for weight in fresh.parameters():
        torch.nn.init.zeros_(weight)
    fresh.restore(saved)
    pairs = zip(predictions(fresh, batch), predictions(model, batch), strict=True)
    assert all(one.anomaly_map.equal(other.anomaly_map) for one, other in pairs)
    assert saved.stage == model.stage and fresh.vocabulary == model.vocabulary
    assert fresh.post_processing.points == model.post_processing.points


@every_baseline
def test_batch_without_known_masks_has_a_finite_loss(name: str) -> None:
    model, batch = small(name).train(), defect_batch()
    if not is_overridden("training_step", model) or isinstance(model, AnomalyModule):
        pytest.skip("learns nothing from defects")
    batch.has_mask[:] = False
    batch.class_ids = [(1,), (2,), (1,), (2,)]
    loss = model.training_step(batch, 0)
    assert torch.isfinite(loss)


@every_one_of_good_parts
def test_planted_square_is_the_oddest_place(name: str) -> None:
    skip_what_learns_slowly(name)
    batch = good_batch(9)
    batch.image[0, :, 40:52, 8:20] = -0.9
    odd, *good = predictions(build(name), batch)
    row, column = divmod(int(odd.anomaly_map.argmax()), SIDE_PX)
    assert 36 <= row < 56 and 4 <= column < 24
    assert odd.image_score > max(one.image_score for one in good)
    assert odd.type_id == 1 and odd.instances


@every_one_of_good_parts
def test_whatever_the_datas_types_they_are_one(name: str, tmp_path: Path) -> None:
    model = build(name)
    images = loader(defect_batch(), good_batch(7))
    quiet_trainer(tmp_path).validate(model, images, verbose=False)
    assert model.vocabulary is not None and model.vocabulary.names == ("good", "defect")
    assert model.calibration is not None and not model.calibration.image.reason
    auroc = float(model.trainer.callback_metrics["mask/val/image_auroc"])
    skip_what_learns_slowly(name)
    # DMAD's student of a random teacher learns little in seconds.
    assert auroc > 0.5 if name == "dmad" else auroc == 1.0


@every_one_of_good_parts
def test_without_a_defect_to_validate_on_the_good_ones_set_the_thresholds(
    name: str, tmp_path: Path
) -> None:
    model, images = build(name), loader(good_batch(5), good_batch(6))
    quiet_trainer(tmp_path).validate(model, images, verbose=False)
    assert model.calibration is not None
    assert model.calibration.objective == "false_alarm_rate=0.05"
    answers = [one for batch in images for one in model.predict_step(batch, 0)]
    highest = max(one.image_score for one in answers)
    # Within a bin of the histogram above the highest of eight.
    assert highest < model.post_processing.points.image < highest + 0.02
    assert not any(one.instances or one.type_id for one in answers)


@every_one_of_good_parts
def test_defect_among_good_parts_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train_on to good"):
        quiet_trainer(tmp_path).fit(small(name), loader(defect_batch()))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *[(name, {}) for name in ("dmad", "fair", "prompt_ad", "simple_net")],
        ("simple_net", {"scorer": "mahalanobis"}),
    ],
)
def test_resume_in_mid_epoch_ends_as_an_unbroken_training(
    name: str, settings: dict[str, object], tmp_path: Path
) -> None:
    class Half(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
            if trainer.global_step == 2:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    whole, resumed = small(name, **settings), small(name, **settings)
    first, second, third = (good_batch(seed) for seed in range(3))
    quiet_trainer(tmp_path, callbacks=[Half()]).fit(whole.train(), loader(first, second, third))
    rest = loader(third, third, third)  # of which the last of three is taken
    checkpoint = tmp_path / "half.ckpt"
    quiet_trainer(tmp_path).fit(resumed.train(), rest, ckpt_path=checkpoint, weights_only=True)
    state = resumed.state_dict()
    assert all(value.equal(state[key]) for key, value in whole.state_dict().items())
    assert resumed.post_processing.points == whole.post_processing.points


@pytest.mark.parametrize(("rank", "world_size", "shown"), [(1, 2, [2, 4]), (0, 1, [1, 2, 3, 4])])
def test_each_process_takes_its_share_of_what_all_had_collected(
    rank: int, world_size: int, shown: list[int]
) -> None:
    model, resumed = small("fair"), small("fair")
    assert isinstance(model, AnomalyModule) and isinstance(resumed, AnomalyModule)
    model._shown = [torch.full((3, 2, 2), value) for value in (1, 3)]
    model.all_gather = lambda one: torch.stack([one, one + 1])  # type: ignore[method-assign]
    checkpoint: dict[str, object] = {}
    model.on_save_checkpoint(checkpoint)
    resumed._trainer = SimpleNamespace(global_rank=rank, world_size=world_size)  # type: ignore[assignment]
    resumed.on_load_checkpoint(checkpoint)
    resumed.on_train_start()
    assert [int(image.unique()) for image in resumed._shown] == shown


def test_checkpoint_without_the_pixel_threshold_restores(tmp_path: Path) -> None:
    model, fresh = build("fair"), small("fair")
    saved = save(model, tmp_path / "one.ckpt")
    del saved.state["pixel_threshold"]
    fresh.restore(saved)
    assert fresh.post_processing.points.default.pixel == 0.5


def test_pixel_threshold_is_the_same_on_every_process() -> None:
    model = small("fair")
    assert isinstance(model, AnomalyModule)
    maps = torch.rand(2, SIDE_PX, SIDE_PX)
    model.score_shown = lambda: (maps, maps.amax((1, 2)))  # type: ignore[method-assign]
    model.all_gather = lambda one: torch.stack([one, 3 * one])  # type: ignore[method-assign]
    model.learn_from_epoch()
    mean = 2 * maps[:, ::4, ::4].quantile(0.99)
    assert model.pixel_threshold == pytest.approx(to_unit(mean, model.map_curve).item())


def test_curve_leaves_the_quantile_at_a_half_and_the_middle_at_sigmoid_of_minus_4() -> None:
    scores = torch.linspace(1, 2, 21)
    curve = fit_curve(scores, torch.tensor(0.5))
    found = to_unit(torch.tensor([0.5, 1.95, 1e4, 2e4]), curve)
    assert found[:2].tolist() == pytest.approx([torch.tensor(-4.0).sigmoid().item(), 0.5])
    assert 0.5 < found[2] < found[3] < 1


@pytest.mark.parametrize("selection", ["random", "coreset"])
def test_memory_bank_holds_so_many_vectors_of_the_backbone(selection: str, tmp_path: Path) -> None:
    model = small("memory_bank", selection=selection, vectors=100)
    assert isinstance(model, MemoryBank)
    quiet_trainer(tmp_path).fit(model, loader(good_batch(1), good_batch(2)))
    assert model.bank.shape == (100, 48 + 192)
    vectors = model.embed(torch.cat([good_batch(1).image, good_batch(2).image])).flatten(0, 1)
    assert torch.cdist(model.bank, vectors).amin(1).max() < 1e-2


def test_memory_bank_refuses_several_processes_and_a_single_image(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 2 processes, expected one"):
        small("memory_bank").check_processes(2)
    lonely = good_batch()
    lonely.image, lonely.row, lonely.class_ids = lonely.image[:1], lonely.row[:1], [()]
    with pytest.raises(ValueError, match="got one good image, expected two or more"):
        quiet_trainer(tmp_path).fit(small("memory_bank"), loader(lonely))


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


@pytest.mark.parametrize("kind", [Unet, Yolo])
def test_closed_list_of_another_count_says_which_to_set(kind: type[Unet | Yolo]) -> None:
    with pytest.raises(ValueError, match=r"set model.init_args.class_count to 3"):
        kind(class_count=6).set_vocabulary(VOCABULARY)


@pytest.mark.parametrize("weights", ["", "efficientnet_lite0"])
def test_unet_of_an_unknown_encoder_names_those_that_are_like_it(weights: str) -> None:
    with pytest.raises(ValueError, match=r"^encoder_name is 'resnet81': .* such as .*resnet"):
        Unet("resnet81", weights)


@pytest.mark.parametrize("name", ["unet", "yolo"])
def test_closed_list_refuses_other_names(name: str, tmp_path: Path) -> None:
    model = small(name)
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
    model, images = small("unet"), loader(defect_batch())
    trainer = quiet_trainer(tmp_path, max_epochs=-1, max_steps=1)
    if within_fit:
        trainer.fit(model, images, images)
        assert model.calibration is None and model.post_processing.points.image == 0.5
    else:
        trainer.validate(model, images, verbose=False)
        assert model.calibration is not None
        assert model.post_processing.points.image == model.calibration.image.threshold != 0.5
