"""Holds stage 2: it learns, the diffusion model does not move, masks are named in any words."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from datamodules.vocabulary import Vocabulary
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.clip_mask_pooling import ClipMaskPooling
from lightning_modules.nets.mask_criterion import MaskLosses
from lightning_modules.nets.mask_generator import MaskQueries
from tests.lightning_modules.small_parts import (
    LossRecord,
    defect_batch,
    measured_finetune,
    save,
    small_finetune,
    train,
)
from tests.lightning_modules.small_weights import save_net, write_small_clip
from tests.lightning_modules.test_diffusion_pretrain import attach, small_pretrain


@dataclass(slots=True)
class Trained:
    """The module after 50 steps on four images, its state before, and the losses between."""

    module: MaskFinetune
    before: dict[str, Tensor]
    record: LossRecord


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    module = measured_finetune()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    record = train(module, tmp_path_factory.mktemp("fit"), steps=50)
    return Trained(module.eval(), before, record)


def logits_of(module: MaskFinetune) -> Tensor:
    """The last prediction set's class logits of the four images."""
    with torch.no_grad():
        return module(defect_batch().image)[1][-1]


def test_loss_falls_on_four_images_in_50_steps(trained: Trained) -> None:
    assert trained.record.mean(40, 50) < 0.5 * trained.record.mean(0, 5)


def test_diffusion_model_does_not_move(trained: Trained) -> None:
    after = trained.module.state_dict()
    frozen = [name for name in after if name.startswith("features.")]
    assert frozen and all(after[name].equal(trained.before[name]) for name in frozen)


def test_every_trainable_weight_moves(trained: Trained) -> None:
    after = trained.module.state_dict()
    names = [name for name, weight in trained.module.named_parameters() if weight.requires_grad]
    assert not [name for name in names if after[name].equal(trained.before[name])]


def test_trained_model_finds_and_names_what_it_saw(trained: Trained) -> None:
    batch = defect_batch()
    answers = trained.module.predict_step(batch, 0)
    assert [answer.type_id for answer in answers] == [1, 2, 1, 0]
    overlap = (answers[0].label_map == 1) & (batch.mask[0] == 1)
    union = (answers[0].label_map == 1) | (batch.mask[0] == 1)
    assert overlap.sum() / union.sum() > 0.5


def test_trained_masks_are_named_by_any_vocabulary(trained: Trained) -> None:
    names = logits_of(trained.module)
    weights = {name: value.clone() for name, value in trained.module.state_dict().items()}
    trained.module.set_vocabulary(Vocabulary.parse("scratch, scuff; stain; crack; good"))
    other = logits_of(trained.module)
    trained.module.set_vocabulary(Vocabulary.from_names(["crack", "stain"]))
    assert other.shape[-1] == 4
    torch.testing.assert_close(other[..., [3, 2]], names[..., 1:])
    assert all(v.equal(weights[n]) for n, v in trained.module.state_dict().items())


def test_words_that_training_never_heard_find_what_trained_names_find(trained: Trained) -> None:
    module, batch = trained.module, defect_batch()
    maps, answers = module.score_tiles(batch.image)
    module.set_vocabulary(Vocabulary.parse("burr; fissure; not stain"))
    burr, fissure = module.lends_to.tolist() == [1], module.lends_to.tolist() == [2]
    assert burr or fissure  # the crack lends to one of them, the stain is not wanted
    new_maps, new_answers = module.score_tiles(batch.image)
    module.set_vocabulary(Vocabulary.parse("burr; crack"))  # the stain lends to the burr
    assert module.lends_to.tolist() == [1]
    some_maps, _ = module.score_tiles(batch.image)
    module.set_vocabulary(Vocabulary.from_names(["crack", "stain"]))
    assert module.lends_to.tolist() == []
    assert new_maps.shape == maps.shape and new_answers.shape == answers.shape
    torch.testing.assert_close(new_answers.sum(1), torch.ones(len(answers)))
    shown = maps[0, 0] > 0.5
    assert new_maps[0, 0 if burr else 1][shown].min() > 0.4
    torch.testing.assert_close(some_maps[1, 0], maps[1, 1], atol=0.05, rtol=0)


def test_independent_names_and_negatives_leave_the_trained_answers(trained: Trained) -> None:
    trained.module.set_vocabulary(Vocabulary.parse("crack; stain; burr; not shadow, dust"))
    trained.module.naming = "independent"
    answers = trained.module.predict_step(defect_batch(), 0)
    trained.module.naming = "softmax"
    trained.module.set_vocabulary(Vocabulary.from_names(["crack", "stain"]))
    assert [answer.type_id for answer in answers] == [1, 2, 1, 0]


def test_restored_model_answers_the_same(trained: Trained, tmp_path: Path) -> None:
    saved = save(trained.module, tmp_path / "one.ckpt")
    fresh = small_finetune(names=("something", "else", "entirely"))
    fresh.restore(saved)
    assert fresh.vocabulary == trained.module.vocabulary
    torch.testing.assert_close(logits_of(fresh.eval()), logits_of(trained.module))


def test_loss_is_masks_plus_half_the_names_and_points_by_their_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = small_finetune(loss_weight_point=2.0)
    losses = MaskLosses(*torch.arange(1.0, 8.0))
    monkeypatch.setattr(module, "supervise", lambda *_: losses)
    loss = module.training_step(defect_batch(), 0).item()
    assert loss == pytest.approx(1 + 2 + 3 + 0.5 * (4 + 5 + 6) + 2 * 7)


def test_stage_1_weights_and_scale_are_read_from_its_checkpoint(tmp_path: Path) -> None:
    pretrain = attach(small_pretrain())
    save(pretrain, tmp_path / "one.ckpt")
    module = small_finetune(str(tmp_path / "one.ckpt"))
    module.load()
    module.measure(torch.zeros(1, 3, 64, 64))
    expected, loaded = pretrain.diffusion.state_dict(), module.features.diffusion.state_dict()
    assert expected and all(loaded[name].equal(value) for name, value in expected.items())


def test_missing_stage_1_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nowhere: expected") as caught:
        small_finetune(str(tmp_path / "nowhere")).load()
    assert "\n" not in str(caught.value)


HYBRID = {"pyramid": "diffusion+timm", "encoder": "test_resnet", "stem": False}


def test_encoder_trains_and_the_diffusion_model_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = small_finetune(**HYBRID)
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    train(module, tmp_path, steps=3)
    moved = {name for name, weight in module.named_parameters() if not weight.equal(before[name])}
    assert {name for name in before if name.startswith("pyramid.encoder.")} <= moved
    assert not any(name.startswith("features.") for name in moved)


def test_points_that_learned_names_have_half_a_say_in_the_maps() -> None:
    module, tiles = small_finetune(loss_weight_point=1.0).eval(), defect_batch().image
    joined, answers = module.score_tiles(tiles)
    cells = module.name_cells(module.find_masks(tiles).last(), side_px=tiles.shape[-1])
    module.loss_weight_point = 0.0
    by_queries, same_answers = module.score_tiles(tiles)
    torch.testing.assert_close(joined, (by_queries + cells) / 2)
    assert answers.equal(same_answers) and not joined.equal(by_queries)
    # Each cell is named as a mask that holds it alone would be.
    outputs = module.find_masks(tiles).last()
    one = torch.full_like(outputs.masks, -1.0)
    one[..., 3, 5] = 1.0
    queries = MaskQueries(one, torch.zeros_like(outputs.queries), outputs.mask_features)
    named = module.score_rule.score_names(module.name_masks(queries)[-1])[:, 0]
    side = outputs.mask_features.shape[-1]
    at_cells = module.name_cells(outputs, side_px=side)
    torch.testing.assert_close(at_cells[:, :, 3, 5], named, atol=1e-4, rtol=1e-3)


def test_hybrid_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    saved, fresh = (small_finetune(**HYBRID) for _ in range(2))
    fresh.restore(save(saved, tmp_path / "last.ckpt"))
    tiles = defect_batch().image
    assert fresh.eval().score_tiles(tiles)[0].equal(saved.eval().score_tiles(tiles)[0])


def test_encoder_starts_from_its_file_and_keeps_the_norms_statistics(tmp_path: Path) -> None:
    state, weights = save_net(tmp_path), tmp_path / "net.safetensors"
    module = small_finetune(**HYBRID, weights=str(weights))
    assert module.tags()["encoder_weights"] == str(weights)
    module.load()
    encoder = module.pyramid.encoder
    assert encoder is not None
    net = timm.create_model("test_resnet", features_only=True)
    net.load_state_dict(state, strict=False)
    image = defect_batch().image
    pixels = (image + 1) / 2
    pixels = (pixels - encoder.pixels.mean) / encoder.pixels.deviation
    maps = zip(encoder.train().backbone(pixels), net.eval()(pixels), strict=True)
    assert all(torch.equal(ours, its) for ours, its in maps)
    before = {name: value.clone() for name, value in encoder.backbone.named_buffers()}
    train(module, tmp_path, steps=2)
    assert all(value.equal(before[name]) for name, value in encoder.backbone.named_buffers())


def test_encoder_alone_has_no_place_for_a_stage_1_and_runs_no_diffusion() -> None:
    alone = {**HYBRID, "pyramid": "timm"}
    with pytest.raises(ValueError, match=r"set pretrained: random, or pyramid: diffusion\+timm"):
        small_finetune("some_run", **alone)
    module, passes = small_finetune(**alone).eval(), []
    module.features.register_forward_pre_hook(lambda *_: passes.append(1))
    maps, _ = module.score_tiles(defect_batch().image)
    assert maps.isfinite().all() and not passes
    assert module.tags()["pyramid"] == "timm"


def test_encoder_weights_without_an_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no encoder: set pyramid: diffusion\+timm"):
        small_finetune(weights="some.safetensors")


def test_frozen_pass_runs_once_per_variant(seed: int) -> None:
    module, taken, batch = small_finetune(feature_cache_gb=1.0), [], defect_batch()
    batch.variant_ids = [1, 2, 3, 4]  # each image the only variant of itself
    module.features.register_forward_pre_hook(lambda _, read: taken.append(len(read[0])))
    for _ in range(3):
        module.training_step(batch, 0)
    assert taken == [4]


def test_kept_features_of_ever_new_crops_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"new at each turn: set .*variants") as caught:
        train(small_finetune(feature_cache_gb=1.0), tmp_path, steps=1)
    assert "\n" not in str(caught.value)


UNRELATED = "; ".join(f"thing {number}" for number in range(49))


@pytest.fixture
def module() -> MaskFinetune:
    """An untrained stage 2 with sharp masks, which no list of names changes."""
    return measured_finetune().eval()


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
