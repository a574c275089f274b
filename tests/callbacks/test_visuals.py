"""Holds when samples, masks and charts are drawn, of which images, and where they are kept."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks.charts import (
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_types,
    pixels_of_figure,
)
from callbacks.visuals import EvaluationCharts, MaskOverlay, SampleGrid, choose_in_turn, keep_image
from datamodules.sample import Batch, Prediction, Sample, collate
from datamodules.vocabulary import Vocabulary
from tests.callbacks.toy_training import toy_trainer

CURVES = SimpleNamespace(
    names=("good", "crack", "stain"),
    confusion=torch.tensor([[5, 1, 0], [0, 3, 2], [0, 0, 0]]),
    precision_recall={
        "pixels": torch.tensor([[0.5, 1.0], [1.0, 0.4]]),
        "images": torch.empty(0, 2),
    },
    reliability={"image": torch.tensor([[0.2, 0.1, 7.0], [0.9, 1.0, 4.0]])},
)
IMAGE = np.full((4, 6, 3), 7, dtype=np.uint8)


def sample(row: int, type_id: int = 0, caption: str = "") -> Sample:
    """24 x 32 black pixels, the first four rows of them of the type."""
    mask = torch.zeros(24, 32, dtype=torch.int64).index_fill(0, torch.arange(4), type_id)
    class_ids = (type_id,) if type_id else ()
    return Sample(torch.zeros(3, 24, 32), mask, True, caption, class_ids, row)


class Toy(LightningModule):
    """Trains one number, generates black images, predicts good; notes how it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = Vocabulary.from_names(["crack", "stain"])
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.asked: list[tuple[list[str], int, int, bool]] = []

    def generate(self, captions: list[str], *, seed: int, steps: int) -> Tensor:
        self.asked.append((list(captions), seed, steps, (self.weight * 1).requires_grad))
        return torch.zeros(len(captions), 3, 24, 32)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.weight**2

    def validation_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        labels = torch.zeros(24, 32, dtype=torch.int64)
        one = Prediction(labels, labels.float(), 0.3, torch.ones(3) / 3, 0, labels)
        return [one for _ in batch.captions]

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(kind: str) -> DataLoader[Sample]:
    samples = [sample(row, type_id, f"{kind} {row}") for row, type_id in enumerate([0, 1, 1, 2])]
    return DataLoader(samples, batch_size=2, collate_fn=collate)  # type: ignore[arg-type]


def fitted(callback: Callback, folder: Path, *, epochs: int = 1) -> Toy:
    module = Toy()
    toy_trainer(folder, [callback], max_epochs=epochs).fit(module, loader("train"), loader("val"))
    return module


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("images/*"))


@pytest.mark.parametrize(
    ("callback", "epochs", "files"),
    [
        (SampleGrid(3, every_n_epochs=2), 5, ["samples_10.png", "samples_4.png", "samples_8.png"]),
        (SampleGrid(3, every_n_epochs=1), 2, ["samples_2.png", "samples_4.png"]),
        (MaskOverlay(), 2, ["masks_val_2.png", "masks_val_4.png"]),
        (MaskOverlay(every_n_epochs=2), 3, ["masks_val_4.png"]),
    ],
    ids=["samples at turns and the end", "the end once", "masks", "masks at turns"],
)
def test_images_come_at_their_turns(
    callback: Callback, epochs: int, files: list[str], tmp_path: Path
) -> None:
    module = fitted(callback, tmp_path, epochs=epochs)
    assert files_in(tmp_path) == files
    assert len(module.asked) in (0, len(files))


def test_captions_are_spread_over_validation_and_stay_the_same(tmp_path: Path) -> None:
    callback = SampleGrid(2, every_n_epochs=1, sampling_steps=7)
    first, second = fitted(callback, tmp_path, epochs=2).asked
    assert first == second == (["val 0", "val 2"], 0, 7, False)


def test_the_test_writes_masks_of_each_type_in_turn_good_parts_last(tmp_path: Path) -> None:
    toy_trainer(tmp_path, [MaskOverlay(image_count=2)]).test(Toy(), loader("test"), verbose=False)
    assert files_in(tmp_path) == ["masks_test_0.png"]
    width, height = Image.open(tmp_path / "images" / "masks_test_0.png").size
    assert width > 3 * 288 and height > 2 * 216
    of_type = cast(Any, {0: ["good", "good 2"], 1: ["a", "a 2", "a 3"], 2: ["b"]})
    assert choose_in_turn(of_type, 3) == ["a", "b", "a 2"]
    assert choose_in_turn(of_type, 9) == ["a", "b", "a 2", "a 3", "good", "good 2"]


def test_a_step_without_predictions_is_refused(tmp_path: Path) -> None:
    class Silent(Toy):
        def test_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
            return None

    with pytest.raises(ValueError, match="MaskOverlay got NoneType"):
        toy_trainer(tmp_path, [MaskOverlay()]).test(Silent(), loader("test"), verbose=False)


def test_each_process_counts_and_the_first_draws(tmp_path: Path) -> None:
    asked: list[str] = []
    evaluation = SimpleNamespace(curves=lambda split: asked.append(split) or CURVES)
    module = cast(LightningModule, SimpleNamespace(evaluation=evaluation))
    for is_first in (False, True):
        assert files_in(tmp_path) == []
        trainer = SimpleNamespace(
            is_global_zero=is_first, global_step=7, default_root_dir=tmp_path, loggers=[]
        )
        EvaluationCharts().on_test_epoch_end(cast(Trainer, trainer), module)
    assert asked == ["test", "test"]
    kinds = ("confusion", "precision_recall", "reliability", "types")
    assert files_in(tmp_path) == [f"{kind}_7.png" for kind in kinds]


class NotingLogger:
    """A logger that notes which images it was given."""

    def __init__(self) -> None:
        self.logged: list[tuple[Path, str, int]] = []

    def log_image(self, path: Path, *, key: str, step: int) -> None:
        self.logged.append((path, key, step))


def test_image_is_kept_and_logged_and_a_full_disk_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def keep(folder: Path) -> Path:
        trainer = SimpleNamespace(global_step=12, default_root_dir=folder, loggers=[logger])
        return keep_image(cast(Trainer, trainer), IMAGE, key="masks_val")

    logger = NotingLogger()
    path = keep(tmp_path)
    assert files_in(tmp_path) == ["masks_val_12.png"] and not caplog.text
    assert np.array_equal(np.asarray(Image.open(path)), IMAGE)
    assert logger.logged == [(path, "masks_val", 12)]
    (tmp_path / "file").touch()
    keep(tmp_path / "file")
    assert len(logger.logged) == 1 and "could not be written" in caplog.text


def words(texts: Any) -> list[str]:
    return [text.get_text() for text in texts]


def test_charts_of_classes_write_counts_and_names_of_those_that_occur() -> None:
    (axes,) = draw_confusion(CURVES.names, CURVES.confusion).axes
    assert sorted(words(axes.texts)) == ["1", "2", "3", "5"]
    assert words(axes.get_xticklabels()) == words(axes.get_yticklabels()) == list(CURVES.names)
    (axes,) = draw_types(CURVES.names, CURVES.confusion).axes
    assert words(axes.get_yticklabels()) == ["good", "crack"]
    assert words(axes.texts) == ["5 of 6", "3 of 5"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([5 / 6, 3 / 5])


def test_charts_of_scores_leave_out_what_has_no_points_and_say_how_many_there_are() -> None:
    (axes,) = draw_precision_recall(CURVES.precision_recall).axes
    assert [line.get_label() for line in axes.lines] == ["pixels"]
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 1.0], [1.0, pytest.approx(0.4)]]
    figure = draw_reliability(CURVES.reliability)
    assert words(figure.axes[0].get_legend().get_texts()) == ["image (11 scores)"]
    pixels = pixels_of_figure(figure)
    assert pixels.shape == (600, 600, 3) and pixels.std() > 10
