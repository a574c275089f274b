"""Holds names by example: naming, unknown, growing, pruning, and the files of a gallery."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_modules.nets.gallery import Gallery, fit_space, least_known

NAMES = ("crack", "pit", "scratch")


def centre(name: str) -> Tensor:
    """Where the vectors of a name lie, (32,)."""
    place = torch.zeros(32)
    place[(*NAMES, "hole").index(name)] = 4.0
    return place


def around(name: str, count: int, views: int = 2) -> Tensor:
    """Example vectors (count, views, 32): the last entry is loud and says nothing."""
    noise = torch.randn(count, views, 32) * 0.5
    noise[..., -1] *= 20
    return centre(name) + noise


@pytest.fixture
def gallery(seed: int) -> Gallery:
    return Gallery("net, 128 px", {name: around(name, 6) for name in NAMES})


def test_regions_get_the_names_of_their_likes(gallery: Gallery) -> None:
    for index, name in enumerate(NAMES):
        found = gallery.name_regions(around(name, 20)[:, 0])
        assert (found.probabilities.argmax(dim=1) == index).float().mean() > 0.9
        assert found.is_unknown.float().mean() < 0.3
    torch.testing.assert_close(found.probabilities.sum(dim=1), torch.ones(20))


def test_what_is_like_none_is_unknown(gallery: Gallery) -> None:
    assert gallery.name_regions(around("hole", 20)[:, 0]).is_unknown.float().mean() > 0.7


def test_what_varies_within_a_name_counts_less(seed: int) -> None:
    space = fit_space([around(name, 6).flatten(0, 1) for name in NAMES])
    loud = centre("crack")
    loud[-1] = 30.0
    assert space.cosines(loud[None]).argmax() == 0


def test_gallery_grows_and_is_pruned_without_training(gallery: Gallery) -> None:
    grown = gallery.grown({"hole": around("hole", 3), "pit": around("pit", 1)})
    assert grown.names == (*NAMES, "hole")
    assert len(grown.vectors["pit"]) == 7
    assert grown.name_regions(around("hole", 9)[:, 0]).probabilities.argmax(1).eq(3).all()
    pruned = grown.pruned("pit")
    assert pruned.names == ("crack", "scratch", "hole")
    with pytest.raises(ValueError, match=r"got 'dent' to remove: expected one of .*crack"):
        grown.pruned("dent")


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:2], NAMES])
def test_few_examples_and_few_names_are_enough(
    names: tuple[str, ...], count: int, seed: int
) -> None:
    examples = {name: around(name, count, views=1) for name in names}
    gallery = Gallery("", examples)
    found = gallery.name_regions(torch.stack([one[0, 0] for one in examples.values()]))
    assert found.probabilities.isfinite().all()
    assert found.probabilities.argmax(dim=1).tolist() == list(range(len(names)))


def test_saved_gallery_names_as_before(gallery: Gallery, tmp_path: Path) -> None:
    gallery.save(str(tmp_path / "kept"))
    loaded = Gallery.load(tmp_path / "kept", fingerprint="net, 128 px")
    vectors = around("pit", 5)[:, 0]
    expected = gallery.name_regions(vectors).probabilities
    torch.testing.assert_close(loaded.name_regions(vectors).probabilities, expected)
    assert loaded.names == gallery.names
    places = {str(place): one for place, one in enumerate(gallery.vectors.values())}
    save_file(places, tmp_path / "kept" / "gallery.safetensors")  # as they were saved before
    old = Gallery.load(tmp_path / "kept", fingerprint="net, 128 px")
    assert all(old.vectors[name].equal(one) for name, one in gallery.vectors.items())


def test_vectors_that_are_newer_than_the_index_have_their_own_names(
    gallery: Gallery, tmp_path: Path
) -> None:
    gallery.pruned(NAMES[0]).save(tmp_path)
    index = (tmp_path / "gallery.json").read_bytes()
    gallery.save(tmp_path)
    (tmp_path / "gallery.json").write_bytes(index)  # killed between both
    loaded = Gallery.load(tmp_path, fingerprint="net, 128 px")
    assert loaded.names == gallery.names[1:]
    assert all(one.equal(gallery.vectors[name]) for name, one in loaded.vectors.items())


def test_an_example_that_it_has_counts_once(gallery: Gallery) -> None:
    grown = gallery.grown({**gallery.vectors, "hole": around("hole", 3)})
    assert [len(one) for one in grown.vectors.values()] == [
        *(len(one) for one in gallery.vectors.values()),
        3,
    ]


def test_gallery_of_another_encoder_or_none_is_one_line(gallery: Gallery, tmp_path: Path) -> None:
    gallery.save(tmp_path)
    with pytest.raises(ValueError, match="is of the encoder net, 128 px, expected other: make it"):
        Gallery.load(tmp_path, fingerprint="other")
    (tmp_path / "gallery.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"is broken .*: make it again"):
        Gallery.load(tmp_path, fingerprint="other")
    with pytest.raises(FileNotFoundError, match=r"no gallery in .*: expected gallery.json"):
        Gallery.load(tmp_path / "none", fingerprint="other")
    with pytest.raises(ValueError, match="no example"):
        Gallery("", {"pit": torch.zeros(0, 1, 32)})


@pytest.mark.parametrize("damage", ["missing", "cut", "width"])
def test_damaged_vectors_are_made_again_from_the_examples(
    gallery: Gallery, tmp_path: Path, damage: str
) -> None:
    gallery.save(tmp_path)
    file = tmp_path / "gallery.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:99])
    elif damage == "width":
        save_file(load_file(file) | {"name:pit": torch.zeros(6, 2, 31)}, file)
    else:
        file.unlink()
    with pytest.raises(ValueError, match=r"is broken .*: make it again from its examples$"):
        Gallery.load(tmp_path, fingerprint="net, 128 px")


def test_least_known_cosine_lies_between_known_and_strange() -> None:
    known, strange = torch.tensor([0.7, 0.9]), torch.tensor([0.1, 0.3])
    assert least_known(known, strange) == pytest.approx(0.5)
    assert least_known(known, torch.zeros(0)) == pytest.approx(0.6)
    assert least_known(torch.zeros(0), torch.zeros(0)) == -1.0


def test_a_region_has_the_unheard_name_of_what_it_resembles(gallery: Gallery) -> None:
    known = torch.eye(6)[:3]  # crack, pit, scratch
    fissure, dimple = torch.tensor([[0.9, 0.1, 0.2, 0.3, 0, 0], [0.0, 0.8, 0.1, 0, 0.5, 0]])
    asked = torch.stack([dimple, fissure])
    for name, expected in (("crack", 1), ("pit", 0)):
        cosines = gallery.resemble(around(name, 9)[:, 0], known, asked)
        assert cosines.shape == (9, 2) and cosines.abs().max() <= 1
        assert (cosines.argmax(dim=1) == expected).float().mean() > 0.8
