"""Holds the frozen maps that systems of good parts stand on: which layers, whose weights."""

import pytest
import torch

from lightning_modules.nets.backbone_features import BackboneFeatures


def test_layers_are_those_at_strides_8_and_16_unless_named() -> None:
    maps = BackboneFeatures("random", "test_resnet")(torch.zeros(2, 3, 64, 64))
    assert [tuple(one.shape[1:]) for one in maps] == [(48, 8, 8), (192, 4, 4)]
    (finer,) = BackboneFeatures("random", "test_resnet", ("layer1",))(torch.zeros(2, 3, 64, 64))
    assert finer.shape == (2, 32, 16, 16)


def test_frozen_net_stays_as_it_is_in_training() -> None:
    features = BackboneFeatures("random", "test_resnet").train()
    image = torch.randn(2, 3, 64, 64)
    once, again = features(image), features(image)
    assert all(one.equal(other) for one, other in zip(once, again, strict=True))
    assert not any(one.requires_grad for one in features.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("",), "has no weights: set weights to one of efficientnet_lite0, .* or random"),
        (("random",), "name the net by model_name"),
        (("random", "test_resnet", ("layer9",)), "no layer 'layer9': expected some of act1, lay"),
        (("efficientnet_lite9",), "do not say which net"),
    ],
)
def test_what_cannot_be_is_one_line(settings: tuple[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BackboneFeatures(*settings)


def test_weights_that_are_not_there_are_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("DIFFUSE_DEFECT_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="fetch --weights efficientnet_lite2"):
        BackboneFeatures("efficientnet_lite2").load()
