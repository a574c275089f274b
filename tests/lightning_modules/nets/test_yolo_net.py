"""Holds the detector's net to its published sizes and shapes."""

import pytest
import torch

from lightning_modules.nets.yolo_net import Size, YoloNet

SIZES: dict[Size, int] = {"n": 3_157_200, "s": 11_166_560, "m": 25_902_640, "l": 43_691_520}


@pytest.mark.parametrize(
    ("size", "class_count", "weights"),
    [
        *((size, 80, weights) for size, weights in SIZES.items()),
        ("m", 1, 25_856_899),
        ("m", 15, 25_865_005),
        ("m", 421, 26_100_079),
    ],
)
def test_published_sizes_are_the_counts_of_weights(
    size: Size, class_count: int, weights: int
) -> None:
    with torch.device("meta"):
        net = YoloNet(class_count, size)
    assert sum(one.numel() for one in net.parameters()) == weights


def test_parts_of_m_have_the_counts_of_the_description() -> None:
    with torch.device("meta"):
        net = YoloNet(80, "m")
    backbone, head = (net.to_p3, net.to_p4, net.to_p5), (net.sides, net.names)
    counts = [
        sum(w.numel() for part in parts for w in part.parameters()) for parts in (backbone, head)
    ]
    assert counts == [11_855_856, 3_822_016 - 16]


@pytest.mark.parametrize(("side_px", "places"), [(640, 8400), (320, 2100)])
def test_each_place_has_names_and_four_distributions(side_px: int, places: int) -> None:
    with torch.device("meta"):
        names, sides = YoloNet(80, "n")(torch.zeros(2, 3, side_px, side_px))
    assert names.shape == (2, places, 80) and sides.shape == (2, places, 4, 16)


def test_answers_lie_in_the_order_of_the_places(seed: int) -> None:
    net, image = YoloNet(2, "n").eval(), torch.zeros(1, 3, 64, 96)
    places = net.places(image)
    odd = image.clone()
    odd[:, :, 40:48, 72:80] = 1.0
    with torch.no_grad():
        moved = (net(odd)[1] - net(image)[1]).abs().sum((0, 2, 3))[:96]
    assert places.centres[:96][moved.argmax()].sub(torch.tensor([76.0, 44])).abs().max() <= 16


def test_gradient_reaches_all_weights_but_the_whole_distances() -> None:
    net = YoloNet(2, "n")
    names, sides = net(torch.rand(2, 3, 64, 64))
    (names.square().sum() + sides.square().sum()).backward()
    without = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert without == ["bins"]


def test_names_start_as_rare_as_five_in_an_image() -> None:
    net = YoloNet(3, "n").eval()
    for branch, places in zip(net.names, (6400, 1600, 400), strict=True):
        share = float(branch[-1].bias.detach().sigmoid().sum())
        assert share * places == pytest.approx(5, rel=0.01)
