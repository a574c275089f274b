"""Holds that a student learns what its teacher finds, at any size, in names that stay fixed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.transforms import to_tensor
from datamodules.vocabulary import Vocabulary
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.student import Student, shares_of
from tests.lightning_modules.small_parts import (
    NAMES,
    SIDE_PX,
    FourImages,
    LossRecord,
    defect_batch,
    quiet_trainer,
    rows_of,
    save,
)

VOCABULARY = Vocabulary.from_names(NAMES)
ENCODER = "tu-tf_efficientnet_lite0"


class Bright(SegmentationModule):
    """A teacher that calls bright pixels cracks and dark ones stains."""

    def __init__(self, tile_px: int = SIDE_PX) -> None:
        super().__init__(tile_px, 0, 4)

    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.stack([tiles[:, 0] > 0.5, tiles[:, 0] < -0.5], dim=1).float()
        best = maps.flatten(2).amax(-1)
        return maps, torch.cat([1 - best.amax(1, keepdim=True), best], dim=1)


def small_student(**settings: object) -> Student:
    """A student of random weights, with a teacher, that knows NAMES."""
    torch.manual_seed(0)
    small = {"teacher": "a run", "encoder_name": ENCODER, "weights": "", "window_px": SIDE_PX}
    small |= {"decoder_channels": (16, 8), "base_learning_rate": 5e-3, "warmup_steps": 5}
    student = Student(**{**small, **settings})  # type: ignore[arg-type]
    student.load()
    student.learn_from(Bright())
    student.set_vocabulary(VOCABULARY)
    return student


@pytest.fixture(scope="module")
def student() -> Student:
    return small_student(tile_px=3 * SIDE_PX).eval()


class Unlabelled(FourImages):
    """The four images without their masks and names."""

    def train_dataloader(self) -> DataLoader[Batch]:
        batch = defect_batch()
        unknown = replace(batch, has_mask=~batch.has_mask, mask=0 * batch.mask)
        batches = [replace(unknown, class_ids=[()] * 4)] * self.steps_per_epoch
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def test_it_learns_the_teachers_maps_and_answers_from_images_without_labels(tmp_path: Path) -> None:
    student, record = small_student(), LossRecord()
    data = Unlabelled(40)
    quiet_trainer(tmp_path, callbacks=[record], gradient_clip_val=1.0).fit(student, data)
    # Nothing else is in the loss: both fell.
    assert record.mean(35, 40) < 0.3 * record.mean(0, 5)


def test_labels_count_where_they_are_known_and_boxes_do_not() -> None:
    student, batch = small_student(), defect_batch()
    student.log_dict = lambda logged, **_: seen.append(set(logged))  # type: ignore[method-assign]
    seen: list[set[str]] = []
    boxes = replace(batch, is_box=batch.has_mask)
    losses = [student.training_step(one, 0) for one in (batch, boxes)]
    assert [{"mask/train/loss_labels"} <= names for names in seen] == [True, False]
    assert losses[0] > losses[1]


def test_shares_sum_to_one_and_good_has_the_rest() -> None:
    maps = torch.tensor([0.2, 0.3]).view(1, 2, 1, 1), torch.tensor([0.9, 0.9]).view(1, 2, 1, 1)
    assert torch.allclose(shares_of(maps[0]).flatten(), torch.tensor([0.5, 0.2, 0.3]))
    assert torch.allclose(shares_of(maps[1]).flatten(), torch.tensor([0.0, 0.5, 0.5]))


def test_the_teacher_is_neither_trained_nor_saved(tmp_path: Path) -> None:
    student = small_student()
    teacher = small_student()
    teacher.tile_px = SIDE_PX
    student.learn_from(teacher)
    names = {name.split(".")[0] for name in student.state_dict()}
    assert names == {"net", "answer"}
    assert not [one for one in teacher.parameters() if one.requires_grad]


@pytest.mark.parametrize("size", [(1, 1), (40, 75), (SIDE_PX, SIDE_PX), (100, 3 * SIDE_PX + 8)])
def test_images_of_any_size_are_scored_at_their_own(
    student: Student, size: tuple[int, int]
) -> None:
    image = torch.rand(3, *size) * 2 - 1
    (scores,) = student.image_scores([image])
    assert scores.anomaly_map.shape == scores.type_map.shape == size
    assert scores.type_map.min() >= 1 and scores.type_map.max() <= len(NAMES)
    assert scores.type_scores.sum() == pytest.approx(1)


@pytest.mark.parametrize("side_px", [128, 160, 200, 225, 288])
def test_every_rim_of_an_image_is_in_a_window_of_the_answer(side_px: int) -> None:
    student = small_student().eval()
    student.window_px = 128
    _, whole = student._lengths(side_px)
    assert whole >= side_px and whole % 32 == 0
    cells = torch.zeros(
        1, student.answer.in_channels, int(whole) // 32, int(whole) // 32, requires_grad=True
    )
    student.net.find = lambda image: (image, cells)  # type: ignore[method-assign]
    _, answers = student.find(torch.zeros(1, 3, int(whole), int(whole)))
    answers.square().sum().backward()
    assert cells.grad is not None and cells.grad.abs().sum(1).min() > 0


def test_a_place_is_scored_alike_in_an_image_that_is_mirrored_outwards(student: Student) -> None:
    image = torch.rand(1, 3, SIDE_PX, SIDE_PX) * 2 - 1
    inside, _ = student.score_tiles(image)
    whole, _ = student.score_tiles(image[..., :-1, :])
    assert whole.shape[-2:] == (SIDE_PX - 1, SIDE_PX)
    assert (inside[..., 16:48, :] - whole[..., 16:48, :]).abs().mean() < 0.05


def test_pixels_in_are_the_same_scores_as_images_in(student: Student) -> None:
    pixels = torch.randint(0, 256, (40, 72, 3), dtype=torch.uint8)
    maps, answer = student(pixels[None])
    image_maps, image_answer = student.score_tiles(to_tensor(pixels.numpy())[None])
    assert maps.equal(image_maps) and answer.equal(image_answer)


def test_a_checkpoint_brings_names_and_numbers_back(student: Student, tmp_path: Path) -> None:
    saved = save(student, tmp_path / "last.ckpt")
    other = Student(encoder_name=ENCODER, weights="", window_px=SIDE_PX, decoder_channels=(16, 8))
    other.restore(saved)
    image = defect_batch().image
    assert other.vocabulary == VOCABULARY
    assert torch.equal(other.eval().score_tiles(image)[0], student.score_tiles(image)[0])


@pytest.mark.parametrize("labels", ["crack", "crack; hole", "stain; crack"])
def test_other_names_are_refused(student: Student, labels: str) -> None:
    with pytest.raises(ValueError, match="closed list crack, stain; leave --labels out"):
        student.set_vocabulary(Vocabulary.parse(labels))


def test_negatives_are_refused(student: Student) -> None:
    with pytest.raises(ValueError, match="got 'not shadow, dust': this system has a closed list"):
        student.set_vocabulary(Vocabulary.parse("crack; stain; not shadow, dust"))


def test_a_teacher_of_other_tiles_and_none_are_refused() -> None:
    with pytest.raises(ValueError, match="sees tiles of 32 px, the student crops of 64 px"):
        small_student().learn_from(Bright(32))
    with pytest.raises(
        ValueError, match="no teacher: name the run that it learns from, --teacher RUN"
    ):
        _ = small_student(teacher="").teacher_path


def test_crops_of_another_size_are_refused(tmp_path: Path) -> None:
    data = FourImages(1)
    data.train_transform.size_px = 32
    with pytest.raises(ValueError, match="crops have 32 px, the student's windows 64"):
        quiet_trainer(tmp_path).fit(small_student(), data)


def test_batches_are_scored_one_image_at_a_time_alike(student: Student) -> None:
    batch = rows_of(defect_batch(), [0, 1])
    together = [one.anomaly_map for one in student.image_scores(list(batch.image))]
    alone = [student.image_scores([one])[0].anomaly_map for one in batch.image]
    assert all(a.equal(b) for a, b in zip(together, alone, strict=True))
