"""Holds the retrieval of captions against hand-worked cases, chance, and several processes."""

import pytest
import torch
from torch import Tensor

from lightning_modules.metrics.caption_retrieval import CaptionRetrieval, hash_caption, take_turns


def draw(seed: int, captions: list[str], width: int = 8) -> tuple[Tensor, Tensor, list[str]]:
    """Pseudo-captions near their captions' vectors, which hang on the words alone."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.stack(
        [
            torch.randn(width, generator=torch.Generator().manual_seed(hash_caption(caption)))
            for caption in captions
        ]
    )
    return text + 1.5 * torch.randn(text.shape, generator=generator), text, captions


def run(metric: CaptionRetrieval, *batches: tuple[Tensor, Tensor, list[str]]) -> dict[str, float]:
    for batch in batches:
        metric.update(*batch)
    return {name: float(figure) for name, figure in metric.compute().items()}


def words(count: int, start: int = 0) -> list[str]:
    return [f"caption {number}" for number in range(start, start + count)]


def test_top_1_by_hand_sees_the_angle_alone() -> None:
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    # The first is short, the second long and both right; the others point to their neighbour.
    pseudo = torch.tensor([[0.1, 0.02], [3.0, 9.0], [-1.0, 2.0], [2.0, -1.0]])
    figures = run(CaptionRetrieval(2), (pseudo, text, words(4)))
    assert figures["retrieval_top1"] == 0.5
    assert figures["retrieval_chance_top1"] == 0.25


def test_images_of_one_caption_share_the_answer() -> None:
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    figures = run(CaptionRetrieval(2), (text, text, ["crack", "crack", "stain"]))
    assert figures["retrieval_top1"] == 1
    assert figures["retrieval_captions"] == 2
    assert figures["retrieval_chance_top1"] == 0.5


def test_pseudo_captions_that_know_nothing_find_theirs_by_chance() -> None:
    _, text, captions = draw(0, words(100), width=64)
    lost = torch.randn(1000, 64, generator=torch.Generator().manual_seed(1))
    figures = run(CaptionRetrieval(64), (lost, text.repeat(10, 1), captions * 10))
    assert figures["retrieval_top5"] == pytest.approx(0.05, abs=0.02)


def test_captions_kept_do_not_depend_on_how_images_are_dealt_out() -> None:
    captions = words(20) + words(10) * 3 + ["common"] * 100
    order = torch.randperm(len(captions), generator=torch.Generator().manual_seed(0)).tolist()
    whole = CaptionRetrieval(8, gallery_size=37)
    whole.update(*draw(0, captions))
    parts = [CaptionRetrieval(8, gallery_size=37) for _ in range(3)]
    for number, part in enumerate(parts):
        part.update(*draw(0, [captions[index] for index in order[number::3]]))
    for part in parts[1:]:
        parts[0].merge_state(part)
    assert torch.equal(parts[0].caption_hash.sort().values, whole.caption_hash.sort().values)


def test_turns_by_hand() -> None:
    caption_hash = torch.tensor([7, 3, -1, 7, 7, 3, -1])
    assert take_turns(caption_hash).tolist() == [1, 0, 5, 3, 4, 2, 6]
