"""Holds that names are words: any list, synonyms, "good", and nothing else moves the answer."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.nets.class_head import (
    ClassHead,
    answer_for_image,
    pool_by_mask,
    score_pixels,
)
from lightning_modules.nets.mask_generator import MaskQueries


def queries() -> MaskQueries:
    """Two prediction sets of two images with four queries, 8 wide."""
    generator = torch.Generator().manual_seed(0)
    return MaskQueries(
        masks=torch.randn(2, 2, 4, 6, 6, generator=generator),
        queries=torch.randn(2, 2, 4, 8, generator=generator),
        mask_features=torch.randn(2, 8, 6, 6, generator=generator),
    )


def texts(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, 5, generator=generator), dim=-1)


@pytest.fixture
def head(seed: int) -> ClassHead:
    """A head whose "good" offset is not zero."""
    head = ClassHead(8, 5)
    torch.nn.init.normal_(head.good_offset)
    return head


def test_a_class_scores_with_its_best_synonym(head: ClassHead) -> None:
    alone = head(queries(), texts(4), torch.arange(4), 4)
    joined = head(queries(), texts(4), torch.tensor([0, 1, 2, 2]), 3)
    torch.testing.assert_close(joined[..., 2], torch.maximum(alone[..., 2], alone[..., 3]))


def test_an_image_is_named_by_the_texts_it_hears_alone(head: ClassHead) -> None:
    owners = torch.tensor([0, 1, 1, 2])
    synonym_mask = torch.tensor([[True, True, False, True], [True, False, True, True]])
    logits = head(queries(), texts(4), owners, 3, synonym_mask)
    for image in range(2):
        kept = synonym_mask[image]
        alone = head(queries(), texts(4)[kept], owners[kept], 3)
        torch.testing.assert_close(logits[:, image], alone[:, image])


def test_logits_are_cosines_over_a_temperature(head: ClassHead) -> None:
    assert head.log_scale.exp().item() == pytest.approx(1 / 0.07)
    assert head(queries(), texts(3), torch.arange(3), 3).abs().max() <= 1 / 0.07 + 1e-4


def test_pooling_is_the_mean_inside_the_mask() -> None:
    masks = torch.full((1, 1, 1, 2, 2), -1.0)
    masks[..., 0, :] = 1
    features = torch.tensor([[[[1.0, 3.0], [100.0, 100.0]]]])
    pooled = pool_by_mask(MaskQueries(masks, torch.zeros(1, 1, 1, 1), features))
    assert pooled.item() == pytest.approx(2)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_pooling_in_16_bits_is_finite_however_large_the_mask(kind: torch.dtype) -> None:
    features = torch.full((1, 2, 256, 256), 5.0, dtype=kind)
    masks = torch.ones(1, 1, 1, 256, 256, dtype=kind)
    with torch.autocast("cpu", kind):
        pooled = pool_by_mask(MaskQueries(masks, torch.zeros(1, 1, 1, 1), features))
    assert pooled.dtype == kind and pooled.flatten().tolist() == [5.0, 5.0]


def test_image_is_good_only_when_every_query_is() -> None:
    logits = torch.tensor([[[5.0, 0.0, 1.0], [2.0, 4.0, -1.0]]])
    assert answer_for_image(logits).tolist() == [[2.0, 4.0, 1.0]]


def test_pixel_score_is_the_best_querys_mask_times_name() -> None:
    masks = torch.tensor([[[[100.0, -100.0]] * 2, [[100.0, 100.0]] * 2]])
    names = torch.tensor([[[1.0, 0.0], [1 / 3, 1 / 3]]])
    maps = score_pixels(masks, names, side_px=2)
    torch.testing.assert_close(maps[0, 0], torch.tensor([[1.0, 1 / 3]] * 2))
    torch.testing.assert_close(maps[0, 1], torch.full((2, 2), 1 / 3))
