"""Holds the nets that images are judged by: real loading code, sizes, and what is refused."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lightning_modules.nets.feature_extractors import InceptionExtractor, TimmExtractor
from tests.lightning_modules.small_weights import NET, save_net


def images(count: int = 2, side_px: int = 48) -> Tensor:
    return torch.randint(0, 256, (count, 3, side_px, side_px), dtype=torch.uint8)


def test_features_and_scores_are_those_of_the_net_itself(tmp_path: Path, seed: int) -> None:
    save_net(tmp_path)
    extractor = TimmExtractor(
        NET, tmp_path / "net.safetensors", pixel_mean=0.5, pixel_deviation=0.5
    )
    seen = extractor(images(side_px=extractor.input_px))
    assert seen.logits is not None and seen.logits.shape == (2, 7)
    torch.testing.assert_close(extractor.net.get_classifier()(seen.features), seen.logits)
    assert not seen.features.requires_grad


def test_weights_without_a_last_layer_give_features_alone(tmp_path: Path) -> None:
    state = save_net(tmp_path)
    headless = {key: value for key, value in state.items() if not key.startswith("fc.")}
    save_file(headless, tmp_path / "headless.safetensors")
    seen = TimmExtractor(NET, tmp_path / "headless.safetensors")(images())
    assert seen.logits is None


def test_unknown_net_is_refused_with_names_like_it(tmp_path: Path) -> None:
    save_net(tmp_path)
    with pytest.raises(ValueError, match=r"or a timm name such as .*resnet50"):
        TimmExtractor("resnet500", tmp_path / "net.safetensors")


@pytest.mark.parametrize("kind", [TimmExtractor, InceptionExtractor])
def test_missing_file_is_one_line(tmp_path: Path, kind: type) -> None:
    if kind is InceptionExtractor:
        pytest.importorskip("torch_fidelity")
    words = (NET, tmp_path / "none") if kind is TimmExtractor else (tmp_path / "none",)
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        kind(*words)


def test_inception_without_its_package_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ValueError, match="pip install 'torch-fidelity"):
        InceptionExtractor(tmp_path / "none")


def test_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity")
    torch.save({"fc.weight": Path("a path is code to unpickle")}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match="not a file of plain tensors"):
        InceptionExtractor(tmp_path / "trap.pth")


def test_inception_reads_its_file_and_sees_what_its_net_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    inception = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    net_class = inception.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch:  # the class only comes filled from its download
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(net_class, "load_state_dict", lambda *_: None)
        net = net_class("inception-v3-compat", ["2048", "logits_unbiased"])
    torch.save(net.state_dict(), tmp_path / "inception.pth")
    image = images(1, 299)
    seen = InceptionExtractor(tmp_path / "inception.pth")(image)
    assert seen.logits is not None and seen.logits.shape == (1, 1008)
    torch.testing.assert_close(seen.features, net(image)[0])
