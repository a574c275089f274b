"""Holds what try_words measures: who is an example, who is asked, and which names regions get."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.manifest import Manifest, write_manifest
from datamodules.sources.folder import Folder
from datamodules.vocabulary import Vocabulary
from experiments.inference.word_trial import WordTrial
from lightning_modules.nets.region_embedding import RegionEmbedding
from lightning_modules.nets.text_encoder import TextEmbedding
from tests.lightning_modules.small_weights import NET, save_net

# What a defect looks like, and where its name lies among the names.
LOOKS = {"line": "line", "spot": "spot", "streak": "line", "dot": "spot"}


class Means:
    """A text tower to which a name means what it looks like."""

    def __call__(self, texts: list[str]) -> TextEmbedding:
        looks = [LOOKS[text.rpartition(" ")[2]] for text in texts]
        pooled = torch.tensor([[1.0, 0.2] if look == "line" else [0.2, 1.0] for look in looks])
        mask = torch.ones(len(texts), 1, dtype=torch.bool)
        return TextEmbedding(tokens=pooled[:, None], mask=mask, pooled=pooled)


def draw(look: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey image (64, 64, 3) with a long bright line or a round dark spot, and its mask."""
    pixels = np.random.default_rng(seed).integers(110, 140, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), dtype=np.uint8)
    y, x = np.mgrid[:64, :64]
    inside = (abs(y - 30) < 2) if look == "line" else ((y - 30) ** 2 + (x - 30) ** 2 < 90)
    mask[inside], pixels[inside] = 255, 250 if look == "line" else 10
    return pixels, mask


@pytest.fixture
def trial(tmp_path: Path) -> WordTrial:
    for name, look in LOOKS.items():
        for index in range(4):
            for folder, one in zip(("images", "masks"), draw(look, index), strict=True):
                (tmp_path / folder / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(one).save(tmp_path / folder / name / f"{index}.png")
    records = [
        replace(one, split="train", width_px=64, height_px=64, source="a" if i % 2 else "b")
        for i, one in enumerate(Folder().records(tmp_path))
    ]
    file, names = tmp_path / "manifest.parquet", Vocabulary.from_names(list(LOOKS))
    write_manifest(file, records, root=tmp_path, vocabulary=names, source="own", leaks=0)
    save_net(tmp_path)
    embed = RegionEmbedding(str(tmp_path / "net.safetensors"), NET, side_px=32)
    return WordTrial(Manifest.open(file), embed, {"means": Means()})  # type: ignore[dict-item]


def test_names_without_example_are_told_apart_by_what_they_look_like(trial: WordTrial) -> None:
    split = trial.split("streak; dot", "")
    assert sorted(split.asked) == ["dot", "streak"]
    gallery, regions = trial.draw(split, most=3, seed=0)
    assert sorted(gallery.names) == ["line", "spot"]
    assert {name: len(one) for name, one in regions.items()} == {"streak": 3, "dot": 3}
    assert trial.share_right(gallery, regions, split.asked, "means", ["{}", "a {}"]) == 1


def test_of_a_held_out_set_all_names_are_asked_for(trial: WordTrial) -> None:
    split = trial.split("", "a")
    gallery, regions = trial.draw(split, most=9, seed=0)
    assert sorted(split.asked) == sorted(gallery.names) == sorted(LOOKS)
    assert {len(one) for one in regions.values()} == {len(one) for one in gallery.vectors.values()}


def test_no_more_regions_are_drawn_than_asked_for(trial: WordTrial, tmp_path: Path) -> None:
    """Though an image has two of a name."""
    for file in (tmp_path / "masks").rglob("*.png"):
        mask = np.array(Image.open(file))
        mask[55:60, 55:60] = 255
        Image.fromarray(mask).save(file)
    gallery, regions = trial.draw(trial.split("streak; dot", ""), most=3, seed=0)
    assert {len(one) for one in (*gallery.vectors.values(), *regions.values())} == {3}


@pytest.mark.parametrize(
    ("held_out", "source", "line"),
    [
        ("", "", "expected one"),
        ("dot; line", "a", "expected one"),
        ("dot", "", "names 1 of the set's types: expected two or more"),
        ("", "c", "names 0 of the set's types"),
    ],
)
def test_what_leaves_nothing_to_choose_is_one_line(
    trial: WordTrial, held_out: str, source: str, line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        trial.split(held_out, source)
