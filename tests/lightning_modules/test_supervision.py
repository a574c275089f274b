"""Holds what names are learned from: classes of masks or captions, by one process or by several."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datamodules.language.noun_phrases import Phrases
from datamodules.sample import Batch
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.mask_criterion import MaskLosses, collect_targets
from lightning_modules.supervision import (
    PHRASES_PER_CAPTION,
    CaptionSupervision,
    ground,
    ids_of,
    margins_of,
    point_loss,
    sample_phrases,
    supervision_of,
)
from tests.lightning_modules.shared_losses import KINDS, gradients, told_batch
from tests.lightning_modules.small_parts import (
    SIDE_PX,
    defect_batch,
    measured_finetune,
    rows_of,
    run_two,
    train,
)

WORKER = Path(__file__).with_name("shared_losses.py")
EACH = pytest.mark.parametrize("kind", ["labels", "captions"])


def losses_of(module: MaskFinetune, batch: Batch, kind: str = "captions") -> MaskLosses:
    """The losses of a batch under one supervision."""
    outputs, logits = module(batch.image)
    points = module.criterion.draw_points(batch.seeds, module.device)
    return supervision_of(kind)(module, outputs, logits, batch, points)


def ground_of(captions: list[Phrases], similarity: Tensor) -> Tensor:
    """L_ground where each image has one query; similarity: (J, J, P)."""
    module, batch = measured_finetune().eval(), told_batch()
    words = CaptionSupervision().words(module, captions, rows_of(batch, range(len(captions))))
    said = ids_of(captions, torch.device("cpu"))
    return ground(similarity[None, :, None], words, said=said)


def test_word_for_another_supervision_is_one_line() -> None:
    with pytest.raises(ValueError, match="supervision is 'words': expected one of labels, capt"):
        supervision_of("words")


def test_phrases_are_sampled_defects_first_and_each_before_one_comes_again() -> None:
    sampled = sample_phrases(Phrases(("a", "b"), ("c",)), seed=3)
    assert len(sampled) == PHRASES_PER_CAPTION
    assert set(sampled[:2]) == {"a", "b"} and sampled[2] == "c" and sampled[3:6] == sampled[:3]


def test_captions_without_grounding_lack_that_loss_alone() -> None:
    module, batch = measured_finetune().eval(), told_batch()
    whole, bare = (losses_of(module, batch, kind) for kind in ("captions", "captions_ungrounded"))
    assert whole.ground is not None and bare.ground is None
    torch.testing.assert_close(bare.of_names, whole.of_names - whole.ground)
    torch.testing.assert_close(bare.of_masks, whole.of_masks)


def test_phrase_that_both_say_does_not_count_against_either() -> None:
    captions = [Phrases(("crack",), ("steel",)), Phrases(("stain",), ("steel",))]
    sampled = [
        sample_phrases(each, seed) for each, seed in zip(captions, told_batch().seeds, strict=False)
    ]
    steel = torch.tensor([[word == "steel" for word in row] for row in sampled])
    similarity = torch.zeros(2, 2, PHRASES_PER_CAPTION)
    louder = similarity.clone()
    louder[0, 1, steel[1]] = louder[1, 0, steel[0]] = 5.0
    torch.testing.assert_close(ground_of(captions, louder), ground_of(captions, similarity))


def test_caption_supervision_never_reads_a_class() -> None:
    module, batch = measured_finetune().eval(), told_batch()
    swapped = torch.tensor([0, 2, 1])
    other = replace(batch, mask=swapped[batch.mask], class_ids=[(2,), (1,), (2,), ()])
    one, two = (losses_of(module, each).parts() for each in (batch, other))
    assert all(two[name].equal(value) for name, value in one.items())


@EACH
def test_step_in_bfloat16_keeps_its_losses_in_float32(kind: str) -> None:
    module = measured_finetune(supervision=kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module.training_step(told_batch(), 0)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)


def test_names_are_learned_from_captions_alone(tmp_path: Path) -> None:
    module = measured_finetune(supervision="captions")
    train(module, tmp_path, steps=60)
    answers = module.eval().predict_step(defect_batch(), 0)
    assert [answer.type_id for answer in answers] == [1, 2, 1, 0]


POINTS = torch.rand(4, 500, 2, generator=torch.Generator().manual_seed(0))


def logits_as_the_mask(batch: Batch) -> Tensor:
    """Logits (4, P, 3) that name each point as the mask does."""
    x, y = (POINTS * SIDE_PX).long().clamp(max=SIDE_PX - 1).unbind(-1)
    ids = batch.mask[torch.arange(4)[:, None], y, x]
    return 20.0 * torch.nn.functional.one_hot(ids, 3)


def test_points_named_as_the_mask_cost_almost_nothing() -> None:
    batch = defect_batch()
    assert point_loss(logits_as_the_mask(batch), collect_targets(batch), POINTS) < 0.1


FIRST = torch.tensor([True, False, False, False])


def test_points_of_an_image_without_masks_teach_nothing() -> None:
    logits = logits_as_the_mask(defect_batch()).requires_grad_()
    unsure = replace(defect_batch(), has_mask=~FIRST)
    point_loss(logits, collect_targets(unsure), POINTS).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0 < logits.grad[1].abs().max()


def test_points_learn_from_boxes_as_from_masks() -> None:
    logits, batch = torch.zeros(4, 500, 3), defect_batch()
    masks, boxes = (
        point_loss(logits, collect_targets(one), POINTS)
        for one in (batch, replace(batch, is_box=FIRST))
    )
    assert masks == boxes > 0


def test_margin_is_the_logit_of_the_classes_share() -> None:
    logits = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([[1, 3], [2, 0]])
    shares = logits.softmax(-1).transpose(1, 2)[torch.arange(2)[:, None], classes]
    torch.testing.assert_close(margins_of(logits, classes).sigmoid(), shares)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have found that share the batch."""
    folder = tmp_path_factory.mktemp("shared_losses")
    run_two(WORKER, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_loss_and_gradient_of_one(shared: Path, kind: str) -> None:
    halves = [torch.load(shared / f"{kind}_{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, whole in gradients(kind, range(4)).items():
        mean = (halves[0][name] + halves[1][name]) / 2
        assert (mean - whole).abs().max() <= 1e-4 * whole.abs().max() + 1e-6, name
