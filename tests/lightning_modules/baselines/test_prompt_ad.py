"""Holds PromptAD to its losses and scores written out by hand, and that its prompts alone learn."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.prompt_ad import STATES, PromptAd
from lightning_modules.nets.learned_prompts import LearnedPrompts
from lightning_modules.nets.whole_clip import value_value_tokens
from tests.lightning_modules.small_parts import NAMES, LossRecord, batch_of, quiet_trainer, save
from tests.lightning_modules.small_weights import PATCH_PX, SIDE_PX, write_small_clip

WIDTH = 16  # of both towers
GRID = SIDE_PX // PATCH_PX


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    return str(write_small_clip(tmp_path_factory.mktemp("clip")))


def ready(folder: str, **settings: object) -> PromptAd:
    torch.manual_seed(0)
    small = {"gallery_layers": (0, 1), "blur_sigma_px": 0.0, "base_learning_rate": 1e-2}
    model = PromptAd(folder, **{**small, **settings})  # type: ignore[arg-type]
    model.load()
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    return model


def good_batch(count: int = 4, seed: int = 0) -> Batch:
    """Images of random colours in squares of four pixels."""
    generator = torch.Generator().manual_seed(seed)
    image = 2 * torch.rand(count, 3, SIDE_PX // 4, SIDE_PX // 4, generator=generator) - 1
    image = functional.interpolate(image, scale_factor=4)
    return batch_of(torch.zeros(count, SIDE_PX, SIDE_PX, dtype=torch.int64), image=image)


def fit(model: PromptAd, folder: Path, epochs: int = 1, *batches: Batch) -> LossRecord:
    """The losses of so many epochs of the four images; the model then evaluates."""
    record, parts = LossRecord(), list(batches or [good_batch()])
    trainer = quiet_trainer(folder, callbacks=[record], max_epochs=epochs)
    trainer.fit(model.train(), DataLoader(parts, batch_size=None))  # type: ignore[arg-type]
    model.eval()
    return record


def unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True)


def texts_by_hand(model: PromptAd, prompts: LearnedPrompts) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors of texts for good, handmade odd and learned odd, one read for each."""
    word = model.clip.embed_prompted
    states = [f"{state.format('object')}." for state in STATES]
    good = [word(["object."], one[None]) for one in prompts.good]
    handmade = [word([state], one[None]) for one in prompts.good for state in states]
    learned = [
        word(["object."], torch.cat([one, odd])[None])
        for one in prompts.good
        for odd in prompts.odd
    ]
    return torch.cat(good), torch.cat(handmade), torch.cat(learned)


def loss_by_hand(model: PromptAd, prompts: LearnedPrompts, vectors: Tensor) -> Tensor:
    """The three losses of one set of prompts, vector by vector."""
    good, handmade, learned = texts_by_hand(model, prompts)
    odd = torch.cat([handmade, learned])
    to_good, to_odd = unit(good.mean(0)), unit(odd.mean(0))
    losses = []
    for vector in vectors:
        cosines = torch.stack([vector @ to_good, *(vector @ unit(one) for one in odd)])
        contrast = -(model.clip.model.logit_scale * cosines).log_softmax(0)[0]
        nearer = ((vector - to_good) ** 2).sum() - ((vector - to_odd) ** 2).sum()
        losses.append(contrast + nearer.clamp(min=0))
    apart = unit(handmade).mean(0) - unit(learned).mean(0)
    return torch.stack(losses).mean() + 0.5 * (apart**2).sum()


@torch.no_grad()
def test_loss_is_that_of_images_by_their_prompts_and_of_places_by_theirs(folder: str) -> None:
    model, batch = ready(folder, alignment_weight=0.5), good_batch()
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    images, places = model.clip.embed_patches(
        batch.image, value_value_tokens, image_size_px=SIDE_PX
    )
    expected = loss_by_hand(model, model.image_prompts, images)
    expected = expected + loss_by_hand(model, model.place_prompts, places.flatten(0, 2))
    torch.testing.assert_close(model.training_step(batch, 0), expected, atol=1e-5, rtol=1e-5)


def test_prompts_alone_learn_and_a_checkpoint_holds_no_weight_of_clip(
    folder: str, tmp_path: Path
) -> None:
    model = ready(folder)
    one_set = (3 * 10 + 4 * 1) * WIDTH, (1 * 10 + 4 * 1) * WIDTH
    assert sum(one.numel() for one in model.parameters() if one.requires_grad) == sum(one_set)
    before = {name: one.clone() for name, one in model.clip.model.state_dict().items()}
    started = [one.detach().clone() for one in model.parameters()]
    record = fit(model, tmp_path, epochs=40)
    assert record.mean(38, 40) < record.mean(0, 2) - 0.05
    assert all(one.equal(before[name]) for name, one in model.clip.model.state_dict().items())
    pairs = zip(model.parameters(), started, strict=True)
    assert all((one - other).abs().min() > 0 for one, other in pairs)
    state = save(model, tmp_path / "one.ckpt").state
    assert sum(one.numel() for one in state.values()) < sum(one_set) + model.gallery.numel() + 100


def test_shown_images_differ_in_nothing_from_the_gallery_but_with_their_colours_turned(
    folder: str, tmp_path: Path
) -> None:
    model, image = ready(folder), good_batch().image
    fit(model, tmp_path)
    assert model.gallery.shape == (2, 4, GRID**2, WIDTH)
    maps, scores = model.score(image)
    assert maps.abs().max() < 1e-5 and scores.abs().max() < 1e-5
    turned, _ = model.score(image.flip(1))
    assert turned.mean() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("logit_scale", ["raw", "exp"])
def test_scores_are_harmonic_means_of_texts_and_gallery(
    folder: str, logit_scale: str, tmp_path: Path
) -> None:
    model, image = ready(folder, logit_scale=logit_scale), good_batch(1, seed=5).image
    fit(model, tmp_path)
    raw = float(model.clip.model.logit_scale)
    scale = raw if logit_scale == "raw" else min(100.0, torch.tensor(raw).exp().item())
    attended: list[Tensor] = []
    [vector], [places] = model.clip.embed_patches(
        image, lambda *them: value_value_tokens(*them, attended), image_size_px=SIDE_PX
    )
    shown: list[Tensor] = []
    model.clip.embed_patches(
        good_batch().image,
        lambda *them: value_value_tokens(*them, shown),
        image_size_px=SIDE_PX,
    )

    def textual(prompts: LearnedPrompts, seen: Tensor) -> Tensor:
        good, *odd = texts_by_hand(model, prompts)
        cosines = [seen @ unit(good.mean(0)), seen @ unit(torch.cat(odd).mean(0))]
        return (scale * torch.stack(cosines)).softmax(0)[1]

    distances = []
    for own, others in zip(attended, shown, strict=True):
        cosines = unit(own[0, 1:]) @ unit(others[:, 1:].flatten(0, 1)).T
        distances.append((1 - cosines.amax(1)) / 2)
    visual = torch.stack(distances).mean(0)
    text = textual(model.place_prompts, places.flatten(0, 1))
    assert min(text.min(), visual.min()) >= 0 and max(text.max(), visual.max()) <= 1
    fused = (1 / (1 / text + 1 / visual)).view(1, 1, GRID, GRID)
    large, peaks = (
        functional.interpolate(one.view(1, 1, GRID, GRID), (SIDE_PX, SIDE_PX), mode="bilinear")
        for one in (fused, visual)
    )
    maps, scores = model.score(image)
    torch.testing.assert_close(maps, large[0], atol=1e-5, rtol=1e-4)
    expected = 1 / (1 / textual(model.image_prompts, vector) + 1 / peaks.max())
    torch.testing.assert_close(scores[0], expected, atol=1e-5, rtol=1e-4)


def test_a_half_is_set_by_what_each_image_scores_beside_the_others(
    folder: str, tmp_path: Path
) -> None:
    model, images = ready(folder), good_batch().image
    fit(model, tmp_path)
    model._shown = list(images)
    _, shown = model.score_shown()
    assert shown.min() > 1e-3
    others = ready(folder, shots=3)
    rest = good_batch()
    rest.image, rest.class_ids = rest.image[1:], rest.class_ids[1:]
    others.image_prompts, others.place_prompts = model.image_prompts, model.place_prompts
    others.base_learning_rate = 0.0
    fit(others, tmp_path, 1, rest)
    torch.testing.assert_close(others.score(images[:1])[1], shown[:1], atol=1e-5, rtol=1e-4)


def test_rate_of_its_authors_falls_to_the_last_one_by_a_cosine(folder: str, tmp_path: Path) -> None:
    model = ready(folder, optimizer="sgd", base_learning_rate=2e-3)
    fit(model, tmp_path, epochs=4)
    [group] = model.trainer.optimizers[0].param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.9, 5e-4)
    assert group["lr"] == pytest.approx(1e-5)
    assert group["initial_lr"] == 2e-3


def test_states_of_a_part_are_read_beside_the_general_ones(folder: str) -> None:
    model = ready(folder, part_name="tile", part_states=("{} with a broken edge",))
    texts = model.place_prompts.texts
    assert len(texts) == 1 + len(STATES) + 1
    assert (texts[0], texts[1], texts[-1]) == ("tile.", "damaged tile.", "tile with a broken edge.")


def test_what_it_cannot_do_is_one_line(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shots is 1: expected 2 or more"):
        PromptAd(folder, shots=1)
    with pytest.raises(ValueError, match=r"layers of .* are \[3, 8\]: expected some of 0 to 1"):
        PromptAd(folder).load()
    with pytest.raises(ValueError, match="image_size_px is 36: expected a multiple of 8"):
        PromptAd(folder, image_size_px=36).load()
    with pytest.raises(ValueError, match=r"none.*expected a local folder or a reachable hub name"):
        PromptAd(str(tmp_path / "none")).load()
    with pytest.raises(ValueError, match="got 2 processes, expected one"):
        PromptAd(folder).check_processes(2)
    with pytest.raises(ValueError, match=r"got 3 good images, expected 4: set data\.init_args\.im"):
        fit(ready(folder), tmp_path, 1, good_batch(3))
