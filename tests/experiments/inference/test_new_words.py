"""Holds which of the words that training never heard a region gets."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules.sample import Instance, Prediction
from datamodules.vocabulary import Vocabulary
from experiments.inference import new_words
from experiments.inference.new_words import SEEN_REGIONS, NewWords, use_new_words
from lightning_modules.nets.gallery import Gallery
from lightning_modules.nets.post_processing import OperatingPoints, TypeThresholds
from lightning_modules.nets.region_embedding import RegionEmbedding
from tests.lightning_modules.small_parts import small_finetune
from tests.lightning_modules.small_weights import NET, save_net

MEANING = {"crack": 0, "fissure": 0, "pit": 1, "dimple": 1, "stain": 2}


class Speaks:
    """A stage whose words mean something: a text is the direction of the name in it."""

    device = torch.device("cpu")
    score_rule = SimpleNamespace(is_complete=True)

    def __init__(self, names: list[str]) -> None:
        self.vocabulary = Vocabulary.from_names(names)
        self.trained = Vocabulary.from_names(["crack", "pit", "stain"])

    def embed_texts(self, texts: list[str]) -> Tensor:
        meant = [next(MEANING[word] for word in MEANING if word in text) for text in texts]
        return torch.eye(3)[meant]


class Sees:
    """An encoder whose vectors (R, 1, 8) point to what the image's first pixel says."""

    def to(self, device: torch.device) -> None:
        """Nothing to move."""

    def __call__(self, image: Tensor, masks: list[Tensor]) -> Tensor:
        return torch.eye(8)[[int(image[0, 0, 0])] * len(masks)][:, None] * 4


def new_words_of(names: list[str]) -> NewWords:
    examples = {
        name: torch.eye(8)[place].expand(5, 1, 8) * 4 + 0.1 * torch.randn(5, 1, 8)
        for place, name in enumerate(("crack", "pit", "stain"))
    }
    return NewWords(Speaks(names), Sees(), Gallery("net", examples))  # type: ignore[arg-type]


def prediction_of(class_id: int, runners_up: tuple[tuple[int, float], ...]) -> Prediction:
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1:3, 1:3] = True
    one = Instance(class_id, 0.9, mask, (1, 1, 2, 2), runners_up)
    scores = torch.tensor([0.2, 0.3, 0.3, 0.2])
    labels = mask.long() * class_id
    return Prediction(labels, mask.float(), 0.9, scores, class_id, labels, [one])


@pytest.mark.parametrize(("shown", "name"), [(0, "fissure"), (1, "dimple")])
def test_of_new_words_a_region_gets_that_of_what_it_resembles(
    shown: int, name: str, seed: int
) -> None:
    words = new_words_of(["dimple", "fissure", "stain"])
    assert words.new_ids == [1, 2]
    wrong = 1 if name == "fissure" else 2
    found = words.rename(torch.full((3, 4, 4), float(shown)), prediction_of(wrong, ((3, 0.1),)))
    names = words.vocabulary.names
    assert names[found.instances[0].class_id] == names[found.type_id] == name
    assert dict(found.instances[0].runners_up)[3] == pytest.approx(0.1)


def test_what_the_vote_gives_to_a_trained_word_stays(seed: int) -> None:
    words = new_words_of(["dimple", "fissure", "stain"])
    found = words.rename(torch.zeros(3, 4, 4), prediction_of(3, ((1, 0.2),)))
    assert found.instances[0].class_id == 3
    assert set(np.unique(found.label_map)) == {0, 3}


def test_new_words_share_a_region_only_where_two_compete(seed: int) -> None:
    alone, found = new_words_of(["dimple", "crack", "stain"]), prediction_of(1, ((2, 0.1),))
    assert alone.rename(torch.zeros(3, 4, 4), found) is found
    words = new_words_of(["dimple", "fissure", "stain"])
    words.stage.score_rule = SimpleNamespace(is_complete=False)  # type: ignore[misc, assignment]
    assert words.rename(torch.zeros(3, 4, 4), found) is found


def test_a_test_names_new_words_as_people_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_net(tmp_path)
    embed = RegionEmbedding(str(tmp_path / "net.safetensors"), NET, side_px=32)
    monkeypatch.setattr(new_words, "RegionEmbedding", lambda weights: embed)
    monkeypatch.setattr(new_words, "is_fetched", lambda name: True)
    seen = {name: torch.randn(3, 1, len(embed_one(embed))) for name in ("crack", "pit")}
    Gallery(embed.fingerprint, seen).save(tmp_path / SEEN_REGIONS)
    stage = small_finetune()
    stage.trained = Vocabulary.from_names(["crack", "pit"])
    stage.set_vocabulary(Vocabulary.from_names(["dimple", "fissure"]))
    stage.post_processing.calibrate(OperatingPoints(TypeThresholds(0.0)))
    image = torch.rand(3, 64, 64)
    before = stage.predict_image(image)
    use_new_words(stage, tmp_path)
    after = stage.predict_image(image)
    assert len(before.instances) == len(after.instances) >= 1
    told = [dict(one.runners_up) for one in after.instances]
    assert told != [dict(one.runners_up) for one in before.instances]


def embed_one(embed: RegionEmbedding) -> Tensor:
    mask = torch.ones(8, 8, dtype=torch.bool)
    return embed(torch.zeros(3, 8, 8), [mask])[0, 0]


def test_without_the_encoder_a_stage_predicts_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DIFFUSE_DEFECT_CACHE", str(tmp_path / "cache"))
    Gallery("net", {"crack": torch.eye(2)[None]}).save(tmp_path / SEEN_REGIONS)
    stage = small_finetune()
    use_new_words(stage, tmp_path)
    assert stage.renaming is None
    assert "experiments.fetch --weights efficientnet_lite0" in caplog.text
