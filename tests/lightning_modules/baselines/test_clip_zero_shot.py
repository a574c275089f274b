"""Holds CLIP's zero-shot map, score and names to what its words and patches say."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.clip_zero_shot import (
    DAMAGED_STATES,
    GOOD_STATES,
    TEMPLATES,
    ClipZeroShot,
)
from lightning_modules.nets.whole_clip import TOWERS
from tests.lightning_modules.small_parts import NAMES, defect_batch, quiet_trainer
from tests.lightning_modules.small_weights import PATCH_PX, SIDE_PX, write_small_clip

SIZES = [(32, 32), (40, 24), (17, 90)]
every_mode = pytest.mark.parametrize("mode", TOWERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    return str(write_small_clip(tmp_path_factory.mktemp("clip")))


def ready(folder: str, **settings: object) -> ClipZeroShot:
    model = ClipZeroShot(folder, **settings)  # type: ignore[arg-type]
    model.load()
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    return model


def images_of(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [2 * torch.rand(3, *size, generator=generator) - 1 for size in sizes]


def test_words_are_winclips(folder: str) -> None:
    assert len(set(TEMPLATES)) == len(TEMPLATES) == 22
    good, damaged = ready(folder, part_name="bottle").condition_prompts()
    assert (len(good), len(damaged)) == (7 * 22, 4 * 22)
    assert "a cropped photo of a bottle" in good
    assert "a photo of the small flawless bottle" in good
    assert "a jpeg corrupted photo of the bottle with defect" in damaged
    assert "a photo of a damaged bottle for anomaly detection" in damaged


@every_mode
def test_map_is_in_zero_to_one_at_any_size_grey_too(folder: str, mode: str) -> None:
    images = images_of(*SIZES)
    images[1] = images[1][:1].expand(3, -1, -1)
    for image, answer in zip(images, ready(folder, mode=mode).predict_images(images), strict=True):
        assert answer.anomaly_map.shape == image.shape[1:]
        assert answer.anomaly_map.min() >= 0 and answer.anomaly_map.max() <= 1
        torch.testing.assert_close(answer.type_scores.sum(), torch.tensor(1.0))


@every_mode
def test_swapped_words_turn_the_map_over(folder: str, mode: str) -> None:
    images = images_of(*SIZES)
    one = ready(folder, mode=mode).predict_images(images)
    swapped = ready(folder, mode=mode, good_states=DAMAGED_STATES, damaged_states=GOOD_STATES)
    for a, b in zip(one, swapped.predict_images(images), strict=True):
        torch.testing.assert_close(a.anomaly_map, 1 - b.anomaly_map, atol=1e-5, rtol=0)
        assert a.image_score == pytest.approx(1 - b.image_score, abs=1e-5)


@every_mode
def test_patch_that_is_most_like_damage_has_the_highest_score(folder: str, mode: str) -> None:
    model, [image] = ready(folder, mode=mode), images_of((SIDE_PX, SIDE_PX))
    _, patches = model.clip.embed_patches(image[None], TOWERS[mode], image_size_px=SIDE_PX)
    # All of them look one way: what the farthest one has of its own is the word for damage.
    own = (patches - patches.mean((1, 2), keepdim=True)).flatten(0, 2)
    farthest = int(own.norm(dim=1).argmax())
    model.condition_texts = torch.stack([-own[farthest], own[farthest]])
    if mode == "vv":  # far apart as they are, all scores would be one
        model.clip.model.logit_scale.data.zero_()
    row, column = divmod(int(model.predict_images([image])[0].anomaly_map.argmax()), SIDE_PX)
    assert divmod(farthest, SIDE_PX // PATCH_PX) == (row // PATCH_PX, column // PATCH_PX)


@every_mode
def test_score_is_the_class_tokens_and_maps_are_each_images_own(folder: str, mode: str) -> None:
    model, images = ready(folder, mode=mode, batch_size=2), images_of(*SIZES)
    answers = model.predict_images(images)
    turned = model.predict_images(images[::-1])[::-1]
    for one, other in zip(answers, turned, strict=True):
        torch.testing.assert_close(one.anomaly_map, other.anomaly_map, atol=1e-5, rtol=0)
    for image, answer in zip(images, answers, strict=True):
        [alone] = model.predict_images([image])
        torch.testing.assert_close(alone.anomaly_map, answer.anomaly_map, atol=1e-5, rtol=0)
        vector, _ = model.clip.embed_patches(image[None], TOWERS[mode], image_size_px=SIDE_PX)
        expected = model.match(vector, model.condition_texts)[0, 1]
        assert answer.image_score == pytest.approx(float(expected), abs=1e-5)


def test_name_is_the_one_whose_words_are_like_the_image(folder: str) -> None:
    model, [image] = ready(folder), images_of((SIDE_PX, SIDE_PX))
    vector, _ = model.clip.embed_patches(image[None], TOWERS["vanilla"], image_size_px=SIDE_PX)
    for class_id in (1, 2):
        model.name_texts = torch.cat([-vector, -vector])
        model.name_texts[class_id - 1] = vector[0]
        answer = model.predict_images([image])[0]
        assert answer.type_scores[1:].argmax() + 1 == class_id
        assert (answer.type_map == class_id).all()


def test_what_looks_like_a_negative_word_is_good(folder: str) -> None:
    model, [image] = ready(folder), images_of((SIDE_PX, SIDE_PX))
    model.set_vocabulary(Vocabulary((("good",), ("crack",)), ("shadow",)))
    vector, _ = model.clip.embed_patches(image[None], TOWERS["vanilla"], image_size_px=SIDE_PX)
    model.name_texts = torch.cat([-vector, vector])
    answer = model.predict_images([image])[0]
    assert answer.type_id == 0 and answer.image_score < 0.01 and not answer.anomaly_map.any()
    model.name_texts = model.name_texts.flip(0)
    assert model.predict_images([image])[0].anomaly_map.any()


def test_each_word_of_a_name_has_a_prompt(folder: str) -> None:
    model = ready(folder, part_name="tile")
    alone = model.clip.embed_texts(["a photo of a tile with crack", "a photo of a tile with rift"])
    model.set_vocabulary(Vocabulary((("good",), ("crack", "rift"), ("stain",))))
    mean = torch.nn.functional.normalize(alone, dim=-1).mean(0)
    torch.testing.assert_close(model.name_texts[0], mean / mean.norm())


@pytest.mark.parametrize("calibrate", [False, True])
def test_thresholds_stay_at_a_half_unless_they_are_asked_for(
    folder: str, calibrate: bool, tmp_path: Path
) -> None:
    model = ready(folder, calibrate=calibrate)
    images = DataLoader([defect_batch()], batch_size=None)  # type: ignore[arg-type]
    quiet_trainer(tmp_path).validate(model, images, verbose=False)
    assert model.calibration is not None
    points = model.post_processing.points
    assert model.calibration.image.threshold == points.image
    assert (points.image, points.default.pixel) == (0.5, 0.5) or calibrate
    assert bool(model.calibration.image.reason) is not calibrate
    assert 0 <= float(model.trainer.callback_metrics["mask/val/type_accuracy"]) <= 1


def test_larger_squares_have_more_patches(folder: str) -> None:
    model = ready(folder, image_size_px=2 * SIDE_PX)
    maps, _ = model.score_tiles(torch.zeros(1, 3, 2 * SIDE_PX, 2 * SIDE_PX))
    assert maps.shape == (1, 2, 8, 8)


def test_what_clip_cannot_do_is_one_line(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mode of clip is 'window': expected vanilla or vv"):
        ClipZeroShot(folder, mode="window")
    with pytest.raises(ValueError, match="image_size_px is 36: expected a multiple of 8"):
        ClipZeroShot(folder, image_size_px=36).load()
    with pytest.raises(ValueError, match=r"none.*expected a local folder or a reachable hub name"):
        ClipZeroShot(str(tmp_path / "none")).load()
