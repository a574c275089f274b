"""Claims about finding copies of training pictures among generated ones."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from datamodules.preparing.fingerprints import TURNS, fingerprint, turned
from experiments.judging import window_search
from experiments.judging.nearest_neighbours import NO_COPY, find_copies, find_neighbours
from experiments.judging.picture_sets import Described, TensorPictures
from experiments.judging.window_search import most_alike_window, preselected_origins, search_windows

SIDE = 64


def texture(seed: int, side_px: int = 160) -> np.ndarray:
    """A grey surface (side, side, 3) with detail of some pixels, like every other of its kind."""
    noise = np.random.default_rng(seed).standard_normal((side_px, side_px))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    grey = (128 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def turned_crop(picture: np.ndarray, turn: int = 0, *, left: int = 37, top: int = 61) -> np.ndarray:
    crop = picture[top : top + SIDE, left : left + SIDE]
    return np.ascontiguousarray(turned(crop.transpose(2, 0, 1), turn).transpose(1, 2, 0))


def thumbnails_of(*views: np.ndarray) -> np.ndarray:
    return np.stack([fingerprint(view).thumbnail for view in views])


def described(*views: np.ndarray, features: torch.Tensor | None = None) -> Described:
    """Views whose features are their mean colours unless told."""
    count = len(views)
    return Described(
        features=torch.randn(count, 6) if features is None else features,
        logits=None,
        thumbnails=thumbnails_of(*views),
        kinds=("good",) * count,
        origins=torch.arange(count),
    )


TRAIN = [texture(seed) for seed in range(40)]
TRAIN_CROPS = [turned_crop(picture, left=10, top=20) for picture in TRAIN]


@pytest.mark.parametrize("turn", range(len(TURNS)))
def test_window_of_a_turned_crop_is_the_very_place_it_came_from(turn: int) -> None:
    window = most_alike_window(TRAIN[0], turned_crop(TRAIN[0], turn))
    assert np.array_equal(window, turned_crop(TRAIN[0]))


def test_window_is_found_at_the_rim_and_in_a_picture_smaller_than_the_view() -> None:
    corner = turned_crop(TRAIN[1], left=160 - SIDE, top=160 - SIDE)
    assert np.array_equal(most_alike_window(TRAIN[1], corner), corner)
    assert most_alike_window(TRAIN[1][:50, :30], corner).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("turn", range(len(TURNS)))
def test_copy_of_a_training_view_is_found_in_any_turn(turn: int) -> None:
    noisy = turned_crop(TRAIN[3], turn, left=10, top=20).astype(int)
    noisy += np.random.default_rng(0).integers(-5, 6, noisy.shape)
    thumbnails = thumbnails_of(noisy.clip(0, 255).astype(np.uint8), turned_crop(texture(99)))
    assert find_copies(thumbnails, thumbnails_of(*TRAIN_CROPS)).tolist() == [3, NO_COPY]


def test_copied_crop_from_another_place_is_found_by_its_windows(seed: int) -> None:
    views = [turned_crop(TRAIN[5], 6), turned_crop(texture(77))]
    pictures = TensorPictures(
        torch.stack([torch.from_numpy(v).permute(2, 0, 1) / 127.5 - 1 for v in views]), ["", ""]
    )
    train = described(*TRAIN_CROPS)
    seen = described(*views)
    windows = search_windows(seen, train, pictures=pictures, open_whole=lambda row: TRAIN[row])
    assert find_neighbours(seen, train, windows=windows).copied.tolist() == [5, NO_COPY]
    assert not find_neighbours(seen, train).is_copy.any()


def test_generator_that_repeats_one_copy_is_caught_each_time() -> None:
    repeated = thumbnails_of(*[TRAIN_CROPS[2]] * 60)
    assert (find_copies(repeated, thumbnails_of(*TRAIN_CROPS)) == 2).all()


def test_even_pictures_are_nobodys_copies() -> None:
    even = np.full((2, 48, 48), 100, np.uint8)
    assert (find_copies(even, even) == NO_COPY).all()


def test_other_surfaces_of_the_same_kind_are_no_copies() -> None:
    others = thumbnails_of(*(turned_crop(texture(seed)) for seed in range(100, 160)))
    assert (find_copies(others, thumbnails_of(*TRAIN_CROPS)) == NO_COPY).all()


def test_copied_view_names_its_picture_and_not_its_place(seed: int) -> None:
    train = replace(described(*TRAIN_CROPS), origins=torch.arange(40) + 500)
    assert find_neighbours(described(TRAIN_CROPS[7]), train).copied.tolist() == [507]


def test_features_choose_different_pictures_where_there_are_many(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(window_search, "PRESELECTED_PICTURES", 3)
    features = torch.eye(6)[[0, 0, 0, 1, 2, 3]] + 0.01 * torch.rand(6, 6)
    train = replace(
        described(*TRAIN_CROPS[:6], features=features), origins=torch.tensor([4, 4, 4, 8, 2, 1])
    )
    seen = described(TRAIN_CROPS[0], features=torch.tensor([[1.0, 0.5, 0.2, 0.0, 0.0, 0.0]]))
    assert preselected_origins(seen, train).tolist() == [[4, 8, 2]]
