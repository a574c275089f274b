"""Holds what `serve` refuses in one line before anything is loaded."""

import socket
from pathlib import Path

import pytest

from experiments import serve as module
from experiments.serve import free_port, is_loopback, serve
from tests.experiments.refused import refused


@pytest.fixture(autouse=True)
def _has_gradio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: name)


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(serve, "--checkpoint", "R", "--out", tmp_path / "o", "--port", port)
    assert f"can't listen at 127.0.0.1, port {port}" in line and "choose another --port" in line
    assert free_port("127.0.0.1", port) == port and free_port("127.0.0.1", 0) > 0


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    line = refused(serve, "--checkpoint", "R", "--out", tmp_path / "o")
    assert line.endswith("pip install '.[web]' in the repository")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--labels", " ; "], "hold an empty name"),
        (["--upload_mb", "0"], "expected 1 or more"),
        (["--port", "70000"], "can't listen"),
        (["--host", "192.0.2.1", "--port", "0"], "an address of this machine"),
        (["--port", "0"], "choose another --out"),
    ],
)
def test_bad_words_are_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert line in refused(serve, "--checkpoint", "R", "--out", tmp_path, *words)


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.168.0.7", "::", "line3.example")))
