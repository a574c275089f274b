"""Holds SimpleNet to its published size and loss, and that it learns what noise looks like."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.simple_net import SimpleNet
from tests.lightning_modules.small_parts import NAMES, SIDE_PX, batch_of, quiet_trainer

small_net = partial(
    SimpleNet,
    weights="random",
    model_name="test_resnet",
    embedding_width=96,
    hidden_width=32,
    noise_deviation=0.05,
    base_learning_rate=1e-2,
    discriminator_learning_rate=1e-2,
    blur_sigma_px=2.0,
    image_size_px=SIDE_PX,
)


def good_batch(seed: int = 0) -> Batch:
    """Four grey images with noise of their own."""
    noise = torch.randn(4, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(seed))
    return batch_of(torch.zeros(4, SIDE_PX, SIDE_PX, dtype=torch.int64), image=0.1 + 0.02 * noise)


def fit(model: SimpleNet, folder: Path, steps: int) -> SimpleNet:
    """The net after so many steps on good images, in evaluation mode."""
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    parts = [good_batch(seed) for seed in range(steps)]
    quiet_trainer(folder).fit(model.train(), DataLoader(parts, batch_size=None))  # type: ignore[arg-type]
    return model.eval()


def test_published_size_is_the_count_of_weights_that_train() -> None:
    with torch.device("meta"):
        model = SimpleNet("random", "wide_resnet50_2", ("layer2", "layer3"))
    assert sum(one.numel() for one in model.parameters() if one.requires_grad) == 3_937_792
    assert model.features.channels == (512, 1024)


def test_loss_is_the_hinge_of_real_and_of_noised_features_in_one_batch_norm() -> None:
    torch.manual_seed(0)
    model, batch = small_net(noise_deviation=0.1, margin=0.7).train(), good_batch()
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    loss = model.training_step(batch, 0)
    real = model.adaptor(model.embed(batch.image).reshape(-1, 96))
    generator = torch.Generator().manual_seed(batch.seeds[0])
    fake = real + 0.1 * torch.randn(real.shape, generator=generator)
    scores = model.discriminator(torch.cat([real, fake]))[:, 0]
    hinge = functional.relu(0.7 - torch.cat([scores[: len(real)], -scores[len(real) :]]))
    torch.testing.assert_close(loss, 2 * hinge.mean(), atol=1e-5, rtol=1e-5)


def test_learns_to_tell_features_from_noised_ones_and_leaves_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_net()
    before = {name: one.clone() for name, one in model.features.state_dict().items()}
    fit(model, tmp_path, steps=100)
    adapted = model.adaptor(model.embed(good_batch(999).image)).flatten(0, 2)
    noised = adapted + 0.05 * torch.randn(adapted.shape)
    real, fake = (model.discriminator(one).mean() for one in (adapted, noised))
    assert real > 0.25 and fake < -0.25
    assert all(one.equal(before[name]) for name, one in model.features.state_dict().items())


def test_map_follows_a_place_whose_features_are_odd(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = fit(small_net(), tmp_path, steps=60)
    image = good_batch(999).image[:1]
    vectors = model.embed(image)
    vectors[0, 5, 2] += 3 * torch.randn(96)
    model.embed = lambda _: vectors  # type: ignore[method-assign]
    maps, scores = model.score(image)
    row, column = divmod(int(maps[0].argmax()), SIDE_PX)
    assert (row // 8, column // 8) == (5, 2)
    raw = -model.discriminator(model.adaptor(vectors).flatten(0, 2))
    torch.testing.assert_close(scores, raw.max()[None])
    assert maps.max() < scores  # the blur has no part in the image's score


def test_mahalanobis_scores_by_mean_and_covariance_of_the_last_epoch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_net(scorer="mahalanobis", base_learning_rate=0.0)
    assert model.tags()["scorer"] == "mahalanobis"
    fit(model, tmp_path, steps=3)
    seen = [model.adaptor(model.embed(good_batch(seed).image)) for seed in range(3)]
    vectors = torch.cat(seen).flatten(0, 2).detach().double().numpy()
    covariance = np.cov(vectors.T, bias=True)
    covariance += 0.01 * covariance.diagonal().mean() * np.eye(96)
    centred = model.adaptor(model.embed(good_batch(7).image))[0].detach().double().flatten(0, 1)
    centred -= vectors.mean(0)
    squares = np.einsum("nd,de,ne->n", centred, np.linalg.inv(covariance), centred)
    _, scores = model.score(good_batch(7).image)
    assert float(scores[0]) == pytest.approx(squares.max() ** 0.5, rel=1e-3)
    odd, good = good_batch(999).image.clone(), good_batch(999).image
    odd[:, :, 40:52, 8:20] = 0.9
    assert model.score(odd)[1].min() > model.score(good)[1].max()


def test_training_that_ends_in_mid_epoch_has_its_curves_and_statistics(tmp_path: Path) -> None:
    model = small_net(scorer="mahalanobis")
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    parts = DataLoader([good_batch(seed) for seed in range(4)], batch_size=None)  # type: ignore[arg-type]
    quiet_trainer(tmp_path, max_steps=2).fit(model.train(), parts)
    assert model.precision.diagonal().min() > 0
    good = model.eval().score_tiles(good_batch(1).image)[1][:, 1]
    assert good.min() > 0.1 and good.max() < 0.6


def test_what_it_cannot_do_is_one_line() -> None:
    with pytest.raises(ValueError, match="got 2 processes and the scorer mahalanobis"):
        small_net(scorer="mahalanobis").check_processes(2)
    small_net().check_processes(2)
    with pytest.raises(ValueError, match="scorer is 'bank': expected discriminator or mahalanob"):
        small_net(scorer="bank")
