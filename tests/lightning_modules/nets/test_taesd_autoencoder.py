"""Holds the TAESD family: shapes and scale on random files, TAEF2's claims on its real ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lightning_modules.nets.taesd_autoencoder import TaesdAutoencoder

IMAGES = {"mtd": "MT_*/Imgs/*.jpg", "neu_det": "IMAGES/*.jpg", "elpv": "**/*.png"}


def from_folder(folder: Path, channels: int = 32, *, pooled: bool = True) -> TaesdAutoencoder:
    files = f"{folder}/encoder.pth", f"{folder}/decoder.pth"
    return TaesdAutoencoder(*files, latent_channels=channels, pooled_middle=pooled)


def write_random_weights(
    folder: Path, channels: int = 32, *, pooled: bool = True
) -> TaesdAutoencoder:
    """Random weights in the family's files, half precision; and the net that holds them."""
    net = from_folder(folder, channels, pooled=pooled)
    for name, part in (("encoder", net.encoder), ("decoder", net.decoder)):
        torch.save({key: w.half() for key, w in part.state_dict().items()}, folder / f"{name}.pth")
    return net


def loaded(folder: Path, channels: int = 32, *, pooled: bool = True) -> TaesdAutoencoder:
    net = from_folder(folder, channels, pooled=pooled)
    net.load()
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    write_random_weights(folder)
    return folder


@pytest.fixture(scope="module")
def taef2(shared_weights: Path) -> TaesdAutoencoder:
    """The real weights; skips where they are missing."""
    stem = shared_weights / "taef2" / "taef2"
    net = TaesdAutoencoder(f"{stem}_encoder.pth", f"{stem}_decoder.pth")
    net.load()
    return net.requires_grad_(False)


def images(folder: Path, pattern: str) -> Tensor:
    """The middles of four images, (4, 3, 128, 128) in [-1, 1]."""
    paths = sorted(folder.glob(pattern))
    cut = [Image.open(path).convert("RGB") for path in paths[:: max(1, len(paths) // 4)][:4]]
    boxes = [((one.width - 128) // 2, (one.height - 128) // 2) for one in cut]
    pixels = [
        np.asarray(one.crop((left, top, left + 128, top + 128)))
        for one, (left, top) in zip(cut, boxes, strict=True)
    ]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 127.5 - 1


def count(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


def test_weights_come_back_from_their_files(folder: Path, tmp_path: Path) -> None:
    written = write_random_weights(tmp_path)
    net, image = loaded(tmp_path), torch.rand(1, 3, 16, 16) * 2 - 1
    expected = written.encoder((image + 1) / 2)
    torch.testing.assert_close(net.encode(image), expected, rtol=1e-2, atol=1e-3)


def test_each_channel_has_unit_variance_after_measuring(folder: Path, seed: int) -> None:
    net, image = loaded(folder), torch.rand(12, 3, 32, 32) * 2 - 1
    spread = net.encode(image).std((0, 2, 3))
    net.measure(image)
    expected = (spread / 0.1).clamp(max=1)
    torch.testing.assert_close(net.encode(image).std((0, 2, 3)), expected, rtol=1e-3, atol=0)


def test_maps_are_what_the_last_block_of_each_size_reads(folder: Path, seed: int) -> None:
    net, image, read = loaded(folder), torch.rand(2, 3, 32, 48) * 2 - 1, []
    net.measure(image)
    blocks = [net.encoder[place] for place in (5, 9, 13)] + [net.decoder[5], net.decoder[10]]
    for block in blocks:
        block.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    net.decode(expected := net.encode(image))
    expected_maps, read[:] = list(read), []
    z, maps = net.encode_with_maps(image)
    maps += net.maps_of_decoding(z)
    assert z.equal(expected)
    assert all(one.equal(other) for one, other in zip(maps, expected_maps, strict=True))


def test_other_settings_than_the_file_s_are_one_line(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"encoder\.pth do not fit.*14\.") as caught:
        loaded(folder, 16)
    assert "\n" not in str(caught.value)


def test_taef2_has_the_parameters_that_its_files_have(taef2: TaesdAutoencoder) -> None:
    assert (count(taef2.encoder), count(taef2.decoder)) == (1_338_528, 1_338_499)


@pytest.mark.parametrize("name", IMAGES)
def test_taef2_brings_real_images_back_at_30_db_and_more(
    taef2: TaesdAutoencoder, shared_data: Path, name: str
) -> None:
    image = images(shared_data / name, IMAGES[name])
    errors = (taef2.decode(taef2.encode(image)) - image).square().mean((1, 2, 3))
    assert (10 * torch.log10(4 / errors)).mean() > 30


def test_weights_of_a_checkpoint_make_the_files_needless(folder: Path, tmp_path: Path) -> None:
    kept, image = loaded(folder), torch.rand(1, 3, 16, 16)
    net = from_folder(tmp_path / "nowhere").requires_grad_(False)
    net.await_weights()
    net.load_state_dict(kept.state_dict())
    assert net.encode(image).equal(kept.encode(image))
