"""Holds what a user's list of names does to the answers of one trained stage 2."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datamodules.vocabulary import Vocabulary
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.clip_mask_pooling import ClipMaskPooling
from tests.lightning_modules.small_clip import write_small_clip
from tests.lightning_modules.small_parts import defect_batch, save, small_finetune

UNRELATED = "; ".join(f"thing {number}" for number in range(49))


@pytest.fixture
def module(seed: int) -> MaskFinetune:
    """An untrained stage 2 with sharp masks, which no list of names changes."""
    module = small_finetune()
    module.measure(defect_batch().image)
    return module.eval()


def crack_map(module: MaskFinetune, labels: str) -> Tensor:
    """The map of the first name of a typed list, of four images."""
    module.set_vocabulary(Vocabulary.parse(labels))
    return module.score_tiles(defect_batch().image)[0][:, 0]


def test_independent_score_of_a_name_is_the_same_alone_and_among_fifty(
    module: MaskFinetune,
) -> None:
    module.naming = "independent"
    alone = crack_map(module, "crack")
    torch.testing.assert_close(crack_map(module, f"crack; {UNRELATED}"), alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("naming", ["softmax", "independent"])
def test_what_is_no_defect_is_never_reported_and_lowers_what_looks_like_it(
    module: MaskFinetune, naming: str
) -> None:
    module.naming = naming
    plain = crack_map(module, "crack")
    warned = crack_map(module, "crack; not cracks")  # to hashed words almost the same
    assert (warned <= plain + 1e-6).all() and warned.max() < plain.max()
    assert module.score_tiles(defect_batch().image)[1].shape == (4, 2)


def test_unknown_naming_is_one_line_and_changes_nothing(module: MaskFinetune) -> None:
    with pytest.raises(ValueError, match="expected softmax or independent"):
        module.naming = "best"
    assert module.naming == "softmax"


def test_own_prompt_templates_stand_for_the_names(module: MaskFinetune) -> None:
    before = module.texts
    module.prompt_templates = ("a weld with {}",)
    module.set_vocabulary(Vocabulary.from_names(["crack", "stain"]))
    assert module.texts[:3].equal(before[:3]) and not torch.allclose(module.texts[3:], before[3:])


@pytest.fixture
def with_clip(module: MaskFinetune, tmp_path: Path) -> MaskFinetune:
    module.clip = ClipMaskPooling(str(write_small_clip(tmp_path)))
    module.load()
    return module


def test_clip_leaves_independent_scores_independent(with_clip: MaskFinetune) -> None:
    with_clip.naming = "independent"
    alone = crack_map(with_clip, "crack")
    among = crack_map(with_clip, f"crack; {UNRELATED}")
    torch.testing.assert_close(among, alone, atol=1e-5, rtol=0)


def test_clip_is_no_part_of_what_is_saved(with_clip: MaskFinetune) -> None:
    weights = dict(with_clip.state_dict())
    with_clip.clip = None
    assert weights.keys() == with_clip.state_dict().keys()


def test_words_of_training_travel_with_the_checkpoint(
    with_clip: MaskFinetune, tmp_path: Path
) -> None:
    saved = save(with_clip, tmp_path / "one.ckpt")
    saved = replace(saved, entries=(("good",), ("crack", "fissure"), ("stain",)))
    with_clip.restore(saved)
    with_clip.set_vocabulary(Vocabulary.parse("fissure; burr"))
    assert with_clip.clip is not None
    assert with_clip.clip.seen_words == {"good", "crack", "fissure", "stain"}
