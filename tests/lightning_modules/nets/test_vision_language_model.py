"""Holds that a model of transformers really answers about an image, and what it refuses."""

from pathlib import Path

import pytest
import torch

from lightning_modules.nets.vision_language_model import VisionLanguageModel
from tests.lightning_modules.small_weights import write_small_clip, write_small_qwen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_small_qwen(tmp_path_factory.mktemp("qwen"))


def loaded(folder: Path, coordinates: str = "") -> VisionLanguageModel:
    model = VisionLanguageModel(str(folder), coordinates)
    model.load()
    return model


def ask(
    model: VisionLanguageModel, image: torch.Tensor, words: str = "?"
) -> tuple[str, tuple[float, float]]:
    return model.answer(image, "You look.", words, most_tokens=24)


def test_answer_is_the_same_each_time_and_another_for_another_image(folder: Path) -> None:
    model, image = loaded(folder), torch.rand(3, 60, 90)
    answer, units = ask(model, image)
    assert answer and units == (1000, 1000)
    assert ask(model, image)[0] == answer
    assert ask(model, -image)[0] != answer
    assert ask(model, image, "Which?")[0] != answer


def test_answer_is_what_a_step_by_step_choice_of_the_likeliest_word_gives(folder: Path) -> None:
    model, image = loaded(folder), torch.rand(3, 56, 56)
    assert model._loaded is not None
    net, processor = model._loaded
    seen = {}
    generate = net.generate
    net.generate = lambda **inputs: seen.update(inputs) or generate(**inputs)  # type: ignore
    text, _ = model.answer(image, "You look.", "?", most_tokens=5)
    ids = seen["input_ids"]
    assert (ids == net.config.image_token_id).sum() == 4  # of 28 px each
    for _ in range(5):
        kinds = (ids == net.config.image_token_id).int()
        shown = {key: seen[key] for key in ("pixel_values", "image_grid_thw")}
        logits = net(input_ids=ids, mm_token_type_ids=kinds, **shown).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    assert processor.decode(ids[0, -5:], skip_special_tokens=False) == text


@pytest.mark.parametrize(
    ("size", "units"), [((60, 90), (84, 56)), ((300, 200), (84, 112)), ((20, 400), (392, 28))]
)
def test_units_are_pixels_of_what_the_model_saw(
    folder: Path, size: tuple[int, int], units: tuple[int, int]
) -> None:
    assert ask(loaded(folder, "abs_resized"), torch.zeros(3, *size))[1] == units


@pytest.mark.parametrize(
    ("family", "expected"), [("qwen2_vl", "rel1000"), ("qwen2_5_vl", "abs_resized")]
)
def test_units_are_those_of_the_family_unless_they_are_named(
    family: str, expected: str, tmp_path: Path
) -> None:
    model = loaded(write_small_qwen(tmp_path, family=family))
    assert model.coordinates == expected
    assert ask(model, torch.rand(3, 60, 90))[0]
    for other in ("rel1000", "abs_resized"):
        assert loaded(tmp_path, other).coordinates == other


def test_what_it_cannot_take_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="coordinates is 'px': expected rel1000, abs_resized"):
        VisionLanguageModel("x", "px")
    with pytest.raises(RuntimeError, match="no weights yet"):
        ask(VisionLanguageModel("x"), torch.zeros(3, 56, 56))
    clip = write_small_clip(tmp_path)
    for name in (tmp_path / "none", clip):
        with pytest.raises(ValueError, match=r"^vision-language model .*not be read") as said:
            loaded(name)
        assert "\n" not in str(said.value)
    monkeypatch.setattr("transformers.Qwen2VLProcessor.model_input_names", ["input_ids"])
    with pytest.raises(ValueError, match="does not say to what size it brings an image"):
        loaded(folder, "abs_resized")


def test_family_of_unknown_units_is_asked_for_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_modules.nets.vision_language_model.COORDINATES", {})
    with pytest.raises(ValueError, match="family 'qwen2_vl', whose boxes are in unknown units"):
        loaded(folder)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("tokenizer.json", "does not know the sign for an image"),
        ("chat_template.jinja", "no chat template: expected one that was taught to answer"),
        ("model.safetensors", "expected a local folder or a reachable hub name"),
    ],
)
def test_missing_file_of_the_model_is_one_line(file: str, said: str, tmp_path: Path) -> None:
    (write_small_qwen(tmp_path) / file).unlink()
    with pytest.raises(ValueError, match=said) as error:
        loaded(tmp_path)
    assert "\n" not in str(error.value)
