"""Claims about what the doctor finds and how it ends."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from experiments import doctor
from experiments.cli import call_command
from experiments.doctor import (
    examine_data,
    examine_packages,
    examine_torch_family,
    examine_tracking,
    examine_weights,
)
from lightning_modules.known_weights import KNOWN_WEIGHTS


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for variable in ("MLFLOW_TRACKING_URI", "DIFFUSE_DEFECT_DATA"):
        monkeypatch.delenv(variable, raising=False)


def test_installation_is_well_until_a_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_command(doctor.doctor, ["--output", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "lightning" in captured.out and captured.err == ""
    monkeypatch.setattr(doctor, "requires", lambda name: ["no-such-package>=1"])
    assert call_command(doctor.doctor, ["--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "no-such-package: got not installed: pip install -r requirements.lock" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("release", ["2.6.2", "2.6.3"])
def test_compromised_lightning_is_flagged(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "requires", lambda name: ["lightning>=2.6"])
    monkeypatch.setattr(doctor, "version", lambda name: release)
    (finding,) = examine_packages()
    assert finding.verdict == "MISSING" and "compromised" in finding.found


def test_faults_of_this_machine_come_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").write_text("not a database" * 100)
    assert "move the file away" in examine_tracking(tmp_path).remedy
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)
    assert "one build family" in examine_torch_family().remedy
    assert examine_data(str(tmp_path / "none")).verdict == "MISSING"
    assert examine_data("").verdict == "optional"
    (tmp_path / "mtd").mkdir()
    monkeypatch.setenv("DIFFUSE_DEFECT_DATA", str(tmp_path))
    assert examine_data("").found.endswith(": mtd")


def test_weights_are_told_with_the_way_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFUSE_DEFECT_CACHE", str(tmp_path))
    (tmp_path / "minilm").mkdir()
    save_file({"one": torch.zeros(1)}, tmp_path / "minilm" / "model.safetensors")
    known = KNOWN_WEIGHTS["minilm"]
    empty = dict.fromkeys(known.beside, hashlib.sha256(b"").hexdigest())
    monkeypatch.setitem(KNOWN_WEIGHTS, "minilm", replace(known, beside=empty))
    for beside in empty:
        (tmp_path / "minilm" / beside).touch()
    findings = {one.part: one for one in examine_weights()}
    assert findings["weights minilm"].verdict == "ok"
    missing = findings["weights efficientnet_lite0"]
    assert missing.verdict == "optional"
    assert missing.remedy.endswith("experiments.fetch --weights efficientnet_lite0")
