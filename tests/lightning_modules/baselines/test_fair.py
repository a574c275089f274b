"""Holds FAIR to its published loss, score and schedule, and that it learns."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torchmetrics.functional.image import structural_similarity_index_measure

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.fair import Fair
from lightning_modules.equations.restoration import restoration_map
from lightning_modules.known_weights import is_fetched
from lightning_modules.nets.synthetic_anomalies import SyntheticAnomalies
from tests.lightning_modules.small_parts import NAMES, SIDE_PX, batch_of, quiet_trainer

small_fair = partial(Fair, width=4, image_size_px=SIDE_PX)


def textured_batch(count: int = 2) -> Batch:
    """Good images, each a coloured ground with stripes."""
    place = torch.arange(SIDE_PX)
    stripes = 0.3 * torch.sin(place / 2)[:, None] * torch.sin(place / 5)
    grounds = torch.tensor([[0.4, 0.1, -0.2], [-0.3, 0.2, 0.1]])[:count]
    image = grounds[:, :, None, None] + stripes
    return batch_of(torch.zeros(count, SIDE_PX, SIDE_PX, dtype=torch.int64), image=image)


def test_published_net_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        model = Fair()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert sum(weight.numel() for weight in trained) == 69_046_275


def test_loss_is_squared_error_and_dissimilarity_to_the_clean_image() -> None:
    torch.manual_seed(0)
    model = small_fair(anomaly_probability=1.0, loss={"l2": 1.0, "ssim": 0.5})
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    batch = textured_batch()
    loss = model.eval().training_step(batch, 0)
    spoilt, clean = model.anomalies((batch.image + 1) / 2, batch.seeds)
    restored = model.net(spoilt)
    similarity = structural_similarity_index_measure(restored, clean, data_range=1.0)
    assert not isinstance(similarity, tuple)
    expected = (restored - clean).square().mean() + 0.5 * (1 - similarity)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)
    assert not torch.equal(spoilt, clean)


@pytest.mark.skipif(not is_fetched("efficientnet_lite0"), reason="no weights in the cache")
def test_two_branches_learn_by_the_papers_three_losses() -> None:
    torch.manual_seed(0)
    weights = {"l2": 0.0, "ssim": 0.0, "l1": 1.0, "frequency": 0.5, "perceptual": 0.1}
    model = small_fair("two_branches", loss=weights, perceptual_weights="efficientnet_lite0")
    model.load()
    clean = (textured_batch().image + 1) / 2
    restored = (clean + 0.1 * torch.randn_like(clean)).requires_grad_()
    loss = model.restoration_loss(restored, clean)
    difference = restored - clean
    expected = difference.abs().mean() + 0.5 * torch.fft.fft2(difference, norm="ortho").abs().mean()
    apart = model.perceptual_distance(restored, clean)
    torch.testing.assert_close(loss, expected + 0.1 * apart)
    [gradient] = torch.autograd.grad(apart, restored)
    assert gradient.abs().max() > 0 and model.restoration_loss(clean, clean) == 0
    assert not any(one.requires_grad for one in model.features.parameters())  # type: ignore[union-attr]


def test_score_is_the_map_of_what_was_not_restored_and_its_peak() -> None:
    torch.manual_seed(0)
    model, image = small_fair().eval(), textured_batch().image
    maps, scores = model.score(image)
    unit = (image + 1) / 2
    torch.testing.assert_close(maps, restoration_map(unit, model.net(unit))[:, 0])
    torch.testing.assert_close(scores, maps.flatten(1).amax(1))


def test_rate_falls_to_a_fifth_twice(tmp_path: Path) -> None:
    model = small_fair(base_learning_rate=1.0)
    model.trainer = quiet_trainer(tmp_path, max_epochs=20)
    scheduler = model.configure_optimizers()["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(20):
        rates.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.0] * 16 + [0.2] * 2 + [0.04] * 2)
    model.trainer = quiet_trainer(tmp_path, max_epochs=-1)
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs"):
        model.configure_optimizers()


def test_two_images_are_learned_by_heart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_fair(width=8, base_learning_rate=5e-3)
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    batch = textured_batch()
    clean = (batch.image + 1) / 2
    before = (model.eval().net(clean) - clean).square().mean()
    model.anomalies = SyntheticAnomalies(0.0, 0.0)
    trainer = quiet_trainer(tmp_path, max_epochs=5)
    trainer.fit(model.train(), DataLoader([batch] * 20, batch_size=None))  # type: ignore[arg-type]
    # By the images' own statistics: running means of so few steps depend on how sums were rounded.
    after = (model.train().net(clean) - clean).square().mean()
    assert after < 0.1 * before


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"image_size_px": 100}, "image_size_px is 100: expected a multiple of 16"),
        ({"loss": {"l3": 1.0}}, "loss is 'l3': expected some of l2, ssim, l1, frequency"),
        ({"architecture": "triple"}, "architecture is 'triple': expected published or two_b"),
        ({"loss": {"perceptual": 0.1}}, "the backbone has no weights"),
    ],
)
def test_setting_that_is_none_is_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        small_fair(**settings)
    assert "\n" not in str(caught.value)
