"""Holds what try_examples measures: which regions are named, by what, and how it is counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import Instance, Prediction
from datamodules.sources.folder import Folder
from datamodules.vocabulary import Vocabulary
from experiments.inference.example_trial import (
    ExampleTrial,
    Regions,
    draw_galleries,
    name_by_draws,
)
from experiments.inference.examples import shares_by_words
from lightning_modules.nets.post_processing import vote
from lightning_modules.nets.region_embedding import RegionEmbedding
from tests.experiments.inference.test_examples import draw
from tests.experiments.test_predict import FindsBrightPixels
from tests.lightning_modules.small_weights import NET, save_net

NAMES = Vocabulary.from_names(["crack", "pit", "scratch"])


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Images with a bright defect that training and test show, and a test image's bright speck."""
    for kind in ("pit", "burr"):
        for index in range(4):
            pixels, mask = draw("plain" if kind == "pit" else "striped", index)
            if (kind, index) == ("pit", 3):
                pixels[2:8, 2:8] = 255
                mask[40:44, 16:44] = 255
            for folder, one in (("images", pixels), ("masks", mask)):
                (tmp_path / folder / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(one).save(tmp_path / folder / kind / f"{index}.png")
    source = Folder()
    records = [
        replace(record, split="test" if "3" in record.image else "train", width_px=64, height_px=64)
        for record in source.records(tmp_path)
    ]
    file, names = tmp_path / "manifest.parquet", Vocabulary.from_names(["pit", "burr"])
    return write_manifest(file, records, root=tmp_path, vocabulary=names, source="own", leaks=0)


@pytest.fixture
def trial(manifest: Manifest, tmp_path: Path) -> ExampleTrial:
    save_net(tmp_path)
    embed = RegionEmbedding(str(tmp_path / "net.safetensors"), NET, side_px=32)
    return ExampleTrial(FindsBrightPixels(), embed, manifest)  # type: ignore[arg-type]


def test_examples_are_of_training_images_and_regions_of_others(trial: ExampleTrial) -> None:
    pool = trial.examples(2)
    assert {name: one.shape[:2] for name, one in pool.items()} == {"pit": (2, 8), "burr": (2, 8)}
    marked, found = trial.regions("test", images=9)
    assert sorted(marked.names) == ["burr", "pit"]
    # By words a bright pixel is a pit, whatever is marked there.
    assert marked.by_words.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert sorted(found.names) == ["burr", "pit"]
    assert found.vectors.shape == (2, trial.embed.width)


def test_examples_are_tried_in_the_shape_that_predict_compares_them_in(
    trial: ExampleTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked, find = trial.examples(1)["pit"], trial.stage.predict_image

    def find_upper_half(image: Tensor) -> Prediction:
        found = find(image)
        found.instances[0].mask[30:] = False
        return found

    monkeypatch.setattr(trial.stage, "shapes_examples", True)
    monkeypatch.setattr(trial.stage, "predict_image", find_upper_half)
    shaped = trial.examples(1)["pit"]
    assert not torch.equal(shaped[:, 0], marked[:, 0])
    assert torch.equal(shaped[:, 1:], marked[:, 1:])


def test_what_is_found_where_little_is_marked_is_nothing(trial: ExampleTrial) -> None:
    ids = np.zeros(100, dtype=np.int64)
    assert trial._true_name(ids) == ""
    ids[:30] = 2
    assert trial._true_name(ids) is None
    ids[:60] = 2
    ids[:20] = 1
    assert trial._true_name(ids) == "burr"


def test_each_name_counts_the_same_and_unknown_is_counted(seed: int) -> None:
    centres = torch.eye(16)[:4] * 4
    pool = {
        name: centres[row] + 0.1 * torch.randn(6, 2, 16) for row, name in enumerate(NAMES.names[1:])
    }
    names = ["crack"] * 4 + ["pit"] + ["scratch"] + [""]
    rows = torch.tensor([0, 0, 0, 0, 1, 2, 3])
    by_words = torch.zeros(7, 4)
    by_words[:, 1] = 1  # all are cracks by words
    regions = Regions(np.array(names, dtype=object), centres[rows], by_words)
    galleries = draw_galleries(pool, count=3, draws=3)
    assert [one.strange for one in galleries] == ["crack", "pit", "scratch"]
    asked, right = ["crack", "pit"], torch.full((4,), 0.5)
    shares = name_by_draws(galleries, regions, asked, vocabulary=NAMES, right=right)
    assert shares["words"] == pytest.approx(0.5)
    assert shares["examples"] == 1
    assert shares["known_unknown"] == 0
    assert shares["strange_unknown"] == shares["nothing_unknown"] == 1
    assert shares["both"] == 1
    assert draw_galleries(pool, count=7, draws=3) == []


def test_shares_of_many_names_are_those_of_the_vote() -> None:
    types = np.repeat(np.arange(1, 7), [22, 20, 20, 13, 13, 12])
    class_id, others = vote(types, np.ones(100))
    one = Instance(class_id, 0.9, torch.ones(1, 1, dtype=torch.bool), (0, 0, 1, 1), others)
    (shares,) = shares_by_words([one], 7)
    assert shares.tolist() == pytest.approx([0, 0.22, 0.20, 0.20, 0.13, 0.13, 0.12])
