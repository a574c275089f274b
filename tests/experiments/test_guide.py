"""Holds that the guide from ten parts to a served model runs, command by command, as it stands.

Only sizes are cut, and a script stands where a person corrects, by the page's own functions; that
the page calls them is held in `serving/`, that MLflow serves in `test_served_model.py`.
"""

import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from datamodules.manifest import Manifest
from experiments.cli import call_command
from experiments.inference.examples import regions_of
from experiments.predictor import load_predictor
from experiments.serving.corrections import Corrections
from experiments.serving.desk import Desk
from experiments.tracking import URI_VARIABLE
from lightning_modules.known_weights import is_fetched
from tests.conftest import REPOSITORY

GUIDE = REPOSITORY / "docs" / "guide.md"
BRIEF = "--trainer.max_epochs 1 --data.batch_size 4 --data.draws_per_epoch 16"
# Beside the words of a config's run, so that it takes seconds.
SIZES = {
    "baselines/memory_bank.yaml": "--model.image_size_px 64 --model.vectors 400 "
    "--data.train_transform.image_size_px 64",
    "own_data.yaml": BRIEF,
    "student.yaml": BRIEF,
}
WEIGHTS = ("minilm", "efficientnet_lite0", "efficientnet_lite2")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Verb and words of each command of the guide's blocks, in order."""
    blocks = re.findall(r"```\n(.+?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        if line.startswith("python -m experiments."):
            verb, *words = shlex.split(line.removeprefix("python -m experiments."))
            yield verb, words


def correct(words: list[str], truth: str) -> None:
    """What a person does on the page: the truth in place of each answer, and all is accepted."""
    said = dict(zip(words[::2], words[1::2], strict=True))
    predictor = load_predictor(said["--checkpoint"], device="cpu")
    if "--examples" in said:
        predictor.use_own_gallery(Path(said["--examples"]))
    index = Manifest.open(Path(truth, "manifest.parquet"))
    records = {Path(index[row].image).name: index[row] for row in range(len(index))}
    corrections = Corrections(Path(said["--out"]))
    with Desk(predictor, corrections, product="part", material="") as desk:
        files = [(name, index.root / one.image) for name, one in records.items()]
        for name, entry in desk.answer(files, desk.words):
            assert not isinstance(entry, str), entry
            draft = desk.open(entry.key, "to review")
            while draft.regions:
                draft = draft.without(0)
            for _, defect, mask, _ in regions_of(records[name], index.root, index.vocabulary):
                draft = draft.redrawn(None, mask, defect)
            desk.save(draft, "a person")


def test_guide_runs_from_ten_parts_to_a_served_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing := [name for name in WEIGHTS if not is_fetched(name)]:
        pytest.skip(f"no weights {', '.join(missing)}: python -m experiments.fetch --weights all")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(URI_VARIABLE, raising=False)
    truths = iter(("new", "later"))
    seen = []
    for verb, words in commands():
        seen.append(verb)
        if verb == "serve":
            correct(words, next(truths))
            continue
        more = SIZES[words[1]].split() if verb == "run" else []
        command = getattr(importlib.import_module(f"experiments.{verb}"), verb)
        assert call_command(command, [*words, *more]) == 0, (verb, words)
    assert seen.count("serve") == 2 and {"prepare", "run", "predict", "export"} < set(seen)
    for folder in ("found", "answers", "from_file"):
        assert (tmp_path / folder / "report.html").is_file()
    changes = json.loads((tmp_path / "mlruns" / "runs" / "better" / "changes.json").read_text())
    assert changes["from"] == "mlruns/runs/own_data" and changes["images"]
    monkeypatch.setenv(URI_VARIABLE, f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/parts@champion")
    (answer,) = model.predict(model.input_example)
    assert (answer["width"], answer["height"]) == (64, 64)
