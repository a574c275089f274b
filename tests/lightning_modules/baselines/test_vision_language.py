"""Holds what becomes of a vision-language model's answers: names, masks, figures, thresholds."""

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.vision_language import VisionLanguage, class_of
from lightning_modules.nets.vision_language_model import VisionLanguageModel
from tests.lightning_modules.small_parts import NAMES, defect_batch, quiet_trainer
from tests.lightning_modules.small_weights import write_small_qwen

CRACK = '[{"bbox_2d": [187.5, 125, 625, 437.5], "label": "crack"}]'  # of the first image, exactly


def scripted(monkeypatch: pytest.MonkeyPatch, *answers: str) -> tuple[VisionLanguage, list[str]]:
    """A system whose model gives these answers in turn, and the questions that it was asked."""
    asked: list[str] = []

    def answer(
        self: object, image: Tensor, system: str, question: str, *, most_tokens: int
    ) -> tuple[str, tuple[float, float]]:
        asked.append(question)
        return answers[(len(asked) - 1) % len(answers)], (1000.0, 1000.0)

    monkeypatch.setattr(VisionLanguageModel, "answer", answer)
    model = VisionLanguage("none", part_name="plate")
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    return model, asked


def loader(batches: int = 1) -> DataLoader[Batch]:
    return DataLoader([defect_batch()] * batches, batch_size=None)  # type: ignore[arg-type]


def test_question_names_the_part_and_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = scripted(monkeypatch, "[]")
    model.predict_images(list(defect_batch().image))
    assert len(asked) == 4 and len(set(asked)) == 1
    assert "every defect of this plate as JSON [{" in asked[0]
    assert "one of: crack, stain. Return []" in asked[0]


def test_box_of_the_true_region_is_a_perfect_prediction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stain = CRACK.replace("125", "312.5").replace("437.5", "625").replace("crack", "Stains")
    lower = CRACK.replace("125", "500").replace("437.5", "812.5")
    model, _ = scripted(monkeypatch, CRACK, stain, lower, "[]")
    quiet_trainer(tmp_path).test(model, loader(), verbose=False)
    figures = {name: float(one) for name, one in model.trainer.callback_metrics.items()}
    assert figures["mask/test/parse_failures"] == 0
    for name in ("iou_image", "iou_type_mean", "type_accuracy", "image_auroc", "box_map"):
        assert figures[f"mask/test/{name}"] == 1, name


def test_unreadable_answers_are_good_and_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = scripted(monkeypatch, CRACK, "I see a crack.", "[]", '[{"bbox_2d": [1, 2')
    with caplog.at_level(logging.WARNING):
        quiet_trainer(tmp_path).test(model, loader(2), verbose=False)
    assert float(model.trainer.callback_metrics["mask/test/parse_failures"]) == 4
    assert [one for one in caplog.messages if "I see a crack." in one]
    answers = model.predict_images(list(defect_batch().image))
    assert [one.type_id for one in answers] == [1, 0, 0, 0]
    assert [one.image_score for one in answers] == [1, 0, 0, 0]


def test_degenerate_boxes_and_good_ones_are_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        '{"bbox_2d": [1200, 10, 1300, 90], "label": "crack"}',
        '{"bbox_2d": [10, 10, 900, 900], "label": "No defect"}',
    ]
    model, _ = scripted(monkeypatch, *said)
    assert not any(one.instances for one in model.predict_images(list(defect_batch().image)))
    assert model.parse_failures == 0


def test_maps_are_those_of_the_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = scripted(monkeypatch, CRACK, "[]")
    images = defect_batch().image[:2]
    maps, answers = model.score_tiles(images)
    assert maps.shape == (2, 2, 64, 64) and maps[0, 0].sum() == 20 * 28 and not maps[1].any()
    assert answers.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_boxes_stay_apart_and_the_first_is_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = '{"bbox_2d": [250, 250, 500, 500], "label": "stain"}'
    model, _ = scripted(monkeypatch, inner + CRACK)
    [found] = model.predict_images([defect_batch().image[0]])
    expected = torch.zeros(64, 64, dtype=torch.int64)
    expected[8:28, 12:40], expected[16:32, 16:32] = 1, 2
    assert found.label_map.equal(expected)
    assert found.anomaly_map.equal((expected > 0).float())
    assert [(one.class_id, int(one.mask.sum())) for one in found.instances] == [(2, 256), (1, 560)]
    assert (found.image_score, found.type_id) == (1.0, 2)


def test_thresholds_stay_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, _ = scripted(monkeypatch, CRACK)
    quiet_trainer(tmp_path).validate(model, loader(), verbose=False)
    assert model.calibration is not None
    assert model.post_processing.points.image == model.calibration.image.threshold == 0.5


WORDS = Vocabulary(
    (("good", "ok"), ("crack", "fissure"), ("scratch", "scuff mark"), ("oil stain",)), ("shadow",)
)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        *[("crack", "crack"), ("Crack", "crack"), ("fissure", "crack"), ("oil_stain", "oil stain")],
        *[("Scuff-Mark", "scratch"), ("cracks", "crack"), ("surface crack", "crack")],
        *[("stain", "oil stain"), ("scratches", "scratch"), ("", "crack"), ("xyz", "crack")],
        *[("good", "good"), ("OK", "good"), ("no defect", "good"), ("Shadow", "good")],
    ],
)
def test_label_is_the_name_that_is_spelt_so_or_most_alike(label: str, name: str) -> None:
    assert WORDS.names[class_of(label, WORDS)] == name


def test_without_weights_it_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^vision-language model .*none.* could not be read"):
        VisionLanguage(str(tmp_path / "none")).load()


def test_nothing_of_the_model_is_in_a_checkpoint(tmp_path: Path) -> None:
    model = VisionLanguage(str(write_small_qwen(tmp_path)))
    model.load()
    assert not model.state_dict() and not model.learns_types
