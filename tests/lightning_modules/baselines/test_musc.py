"""Holds MuSc to its three steps over whole images, and to which images it scores among which."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.musc import Musc
from lightning_modules.equations.mutual_scoring import (
    mutual_scores,
    neighbourhood_tokens,
    smoothed_by_likeness,
)
from lightning_modules.nets.patch_projection import (
    PatchProjection,
    contrastive_loss,
    two_looks,
)
from lightning_modules.nets.patch_tokens import (
    ClipTokens,
    ConvolutionalTokens,
    PatchTokens,
    TransformerTokens,
)
from tests.lightning_modules.small_parts import NAMES, SIDE_PX, batch_of, quiet_trainer, save
from tests.lightning_modules.small_weights import write_small_clip

maps_of_resnet = partial(ConvolutionalTokens, "random", "test_resnet", ("layer2",))


def ready(tokens: PatchTokens | None = None, **settings: object) -> Musc:
    torch.manual_seed(0)
    model = Musc(tokens or maps_of_resnet(), image_size_px=SIDE_PX, **settings)  # type: ignore[arg-type]
    model.load()
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    return model.eval()


def images_of(count: int, ground: float = 0.1, odd: int | None = None) -> Tensor:
    """Noisy grey images (N, 3, s, s), one of them with a square of stripes."""
    generator = torch.Generator().manual_seed(count)
    image = ground + 0.02 * torch.randn(count, 3, SIDE_PX, SIDE_PX, generator=generator)
    if odd is not None:
        image[odd, :, 24:32, 40:48] = torch.tensor([0.9, 0.9, -0.9, -0.9]).repeat(2)
    return image


def batches_of(image: Tensor, products: list[str] | None = None) -> DataLoader[Batch]:
    """Batches of two images."""
    size = (2, SIDE_PX, SIDE_PX)
    parts = [
        batch_of(
            torch.zeros(size, dtype=torch.int64),
            image=image[first : first + 2],
            products=(products or [])[first : first + 2],
        )
        for first in range(0, len(image), 2)
    ]
    return DataLoader(parts, batch_size=None)  # type: ignore[arg-type]


def test_maps_and_scores_are_the_published_steps_one_after_the_other() -> None:
    model, image = ready(like_images=(1, 3)), images_of(6, odd=2)
    features, vectors = model.tokens(image)
    rounds = [
        mutual_scores(neighbourhood_tokens(layer.half(), side).half(), 0.3)
        for layer in features
        for side in (1, 3, 5)
    ]
    grid = torch.stack(rounds).mean(0).view(6, 1, 8, 8)
    maps = functional.interpolate(grid, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=True)
    found, scores = model.score(image)
    torch.testing.assert_close(found, maps[:, 0], atol=2e-3, rtol=1e-2)
    peaks = smoothed_by_likeness(found.amax((1, 2)), vectors, (1, 3))
    torch.testing.assert_close(scores, peaks, atol=1e-4, rtol=1e-4)


def test_answers_are_those_of_the_whole_set_however_it_comes_in_batches(tmp_path: Path) -> None:
    model, image = ready(), images_of(8, odd=5)
    quiet_trainer(tmp_path).test(model, batches_of(image), verbose=False)
    by_twos = [one for pair in image.split(2) for one in model.predict_images(list(pair))]
    order = [3, 5, 0, 7, 1, 6, 2, 4]
    fresh = ready()
    fresh.look_at(image[order])
    for one, other in zip(by_twos, fresh.predict_images(list(image)), strict=True):
        torch.testing.assert_close(one.anomaly_map, other.anomaly_map, atol=1e-3, rtol=1e-3)
        assert one.image_score == pytest.approx(other.image_score, abs=1e-3)
    row, column = divmod(int(by_twos[5].anomaly_map.argmax()), SIDE_PX)
    assert abs(row - 28) <= 12 and abs(column - 44) <= 12  # a token is 8 px wide


def test_images_are_scored_among_those_of_their_product(tmp_path: Path) -> None:
    tiles, boards = images_of(6, odd=1), images_of(8, ground=-0.5)
    mixed = torch.cat([tiles, boards])
    model, alone = ready(), ready()
    products = ["tile"] * 6 + ["board"] * 8
    quiet_trainer(tmp_path).validate(model, batches_of(mixed, products), verbose=False)
    for images in (tiles, boards):
        alone.look_at(images)
        pairs = zip(model.predict_images(images), alone.predict_images(images), strict=True)
        assert all(a.anomaly_map.allclose(b.anomaly_map, atol=1e-5) for a, b in pairs)
    alone.look_at(mixed)
    whole = alone.predict_images(tiles)[1]
    assert not whole.anomaly_map.allclose(model.predict_images(tiles)[1].anomaly_map, atol=1e-3)


def test_curves_are_set_by_the_images_of_one_product(tmp_path: Path) -> None:
    tiles, boards = images_of(6), images_of(8, ground=-0.5)
    mixed = torch.stack([one for pair in zip(tiles, boards, strict=False) for one in pair])
    model, alone = ready(), ready()
    quiet_trainer(tmp_path).fit(model, batches_of(mixed, ["tile", "board"] * 6))
    quiet_trainer(tmp_path).fit(alone, batches_of(tiles, ["tile"] * 6))
    torch.testing.assert_close(model.image_curve, alone.image_curve)
    torch.testing.assert_close(model.map_curve, alone.map_curve)
    few = batches_of(mixed[:8], ["tile", "board"] * 4)
    with pytest.raises(ValueError, match="got 4 good images of one product, expected 5 or more"):
        quiet_trainer(tmp_path).fit(ready(), few)


def test_who_asks_second_leaves_the_scores_of_the_first() -> None:
    first, second, model = images_of(6, odd=1), images_of(8, ground=-0.5), ready()
    model.look_at(first)
    before = model.predict_images(first[:1])[0]
    model.look_at(second)
    assert model.predict_images(first[:1])[0].image_score == before.image_score


def train_loss(trainer: Trainer, model: Musc) -> float:
    trainer.fit(model, batches_of(images_of(6)))
    return float(trainer.callback_metrics["mask/train/loss"])


def test_copies_of_an_image_have_no_odd_place() -> None:
    one = images_of(1, odd=0).repeat(5, 1, 1, 1)
    maps, scores = ready().score(one)
    assert maps.max() < 0.05 * ready().score(images_of(5, odd=0))[0].max()
    assert scores.max() == pytest.approx(float(maps.max()))


def test_images_that_were_not_looked_at_make_a_set_of_their_own() -> None:
    model, image = ready(), images_of(5, odd=3)
    scores = [one.image_score for one in model.predict_images(list(image))]
    assert all(torch.tensor(scores).isfinite()) and max(scores) <= 1
    with pytest.raises(ValueError, match=r"got 1 images .* expected 5 or more: .* --images FOLDER"):
        model.predict_image(images_of(4)[0])
    assert [one.image_score for one in model.predict_images(list(image))] == scores


def test_precision_of_16_bits_gives_the_same_maps() -> None:
    image = images_of(5, odd=3)
    with torch.autocast("cpu", torch.bfloat16):
        maps, _ = ready().score(image)
    torch.testing.assert_close(maps, ready().score(image)[0], atol=0.02, rtol=0.05)


def test_any_size_and_grey_are_taken() -> None:
    model = ready()
    images = [torch.rand(1, 20 + 9 * n, 70).expand(3, -1, -1) for n in range(5)]
    for image, one in zip(images, model.predict_images(images), strict=True):
        assert one.anomaly_map.shape == image.shape[1:] and one.anomaly_map.isfinite().all()


def test_transformer_and_clip_find_the_square(tmp_path: Path) -> None:
    clip = ClipTokens(str(write_small_clip(tmp_path)), (0, 1))
    transformer = TransformerTokens("random", "test_vit", (1, 3))
    for weight in transformer.parameters():
        torch.nn.init.normal_(weight, std=0.3) if weight.dim() > 1 else None
    for tokens in (transformer, clip):
        model = ready(tokens)
        maps, _ = model.score(images_of(6, odd=4))
        assert int(maps.flatten(1).amax(1).argmax()) == 4


def test_weights_that_no_checkpoint_holds_are_read_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = str(write_small_clip(tmp_path))
    model = ready(ClipTokens(folder, (0, 1)))
    saved = save(model, tmp_path / "one.ckpt")
    assert not any(name.startswith("tokens") for name in saved.state)
    fresh = Musc(ClipTokens(folder, (0, 1)), image_size_px=SIDE_PX)
    fresh.restore(saved)
    image = images_of(6, odd=4)
    torch.testing.assert_close(fresh.score(image), model.score(image))


def test_projection_of_the_paper_learns_to_tell_places_apart_and_alone_trains(
    tmp_path: Path,
) -> None:
    assert sum(one.numel() for one in PatchProjection().parameters()) == 2_361_856
    wide = PatchProjection(width=24, hidden_width=32, out_width=16)
    tokens = TransformerTokens("random", "test_vit", (1, 3))
    with pytest.raises(ValueError, match=r"projection\.width is 24, the tokens have 64 entries"):
        ready(tokens, projection=wide).score(images_of(5))
    torch.manual_seed(0)
    projection = PatchProjection(width=64, hidden_width=32, out_width=16)
    model = ready(tokens, projection=projection, base_learning_rate=1e-2)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    first, loss = (
        train_loss(quiet_trainer(tmp_path, max_epochs=epochs), model) for epochs in (1, 15)
    )
    changed = {n for n, one in model.state_dict().items() if not one.equal(before[n])}
    learned = {"projection", "map_curve", "image_curve", "pixel_threshold"}
    assert {name.split(".")[0] for name in changed} == learned
    assert loss < 0.8 * first
    model.eval()
    saved = save(model, tmp_path / "one.ckpt")
    fresh = Musc(tokens, image_size_px=SIDE_PX, projection=PatchProjection(64, 32, 16))
    fresh.restore(saved)
    image = images_of(6, odd=4)
    torch.testing.assert_close(fresh.score(image), model.score(image))


def test_contrastive_loss_is_the_mean_of_minus_log_shares() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(3, 4, generator=generator) for _ in range(2))
    wanted = 0.0
    for a, b in ((one, other), (other, one)):
        for place in range(3):
            alike = torch.cosine_similarity(a[place][None], b) / 0.07
            wanted -= float(alike.log_softmax(0)[place]) / 6
    assert float(contrastive_loss(one, other)) == pytest.approx(wanted, rel=1e-5)
    first, second = two_looks(torch.zeros(2, 3, 8, 8), torch.Generator().manual_seed(0))
    assert not first.equal(second) and first.abs().max() < 0.6


def test_what_it_cannot_do_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 2 processes, expected one: MuSc"):
        ready().check_processes(2)
    with pytest.raises(ValueError, match="neighbourhood is 2 wide: expected an odd number"):
        ready(neighbourhoods=(1, 2))
    clip = ClipTokens(str(write_small_clip(tmp_path)), (0, 1))
    with pytest.raises(ValueError, match="image_size_px is 60: expected a multiple of 8"):
        Musc(clip, image_size_px=60).load()
    with pytest.raises(ValueError, match="got 4 images to score among each other, expected 5"):
        quiet_trainer(tmp_path).test(ready(), batches_of(images_of(4)), verbose=False)
