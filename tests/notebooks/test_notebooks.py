"""Holds that each notebook runs from top to bottom, shows images, and defines nothing."""

import ast
import io
import os
from contextlib import redirect_stdout
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from experiments.cli import call_command
from experiments.study import study
from tests.experiments.small_run import STAGES, run_both

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run of both stages."""
    folder = tmp_path_factory.mktemp("mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        run_both(folder)
    return folder


@pytest.fixture(scope="module")
def study_file(output: Path) -> Path:
    """A study on a few small images, which has run."""
    file = output / "floor.yaml"
    file.write_text(
        "from: studies/constant_answers.yaml\n"
        "variants: {scratch: null, crack: null}\n"
        "settings: {data: {init_args: {"
        "source: {init_args: {image_count: 24, image_size_px: 64}}, "
        f"root: {output / 'floor'}, manifest_folder: {output / 'manifests'}}}}}}}\n"
    )
    with redirect_stdout(io.StringIO()), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert call_command(study, ["--config", str(file), "--output", str(output)]) == 0
    return file


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebook_runs_from_top_to_bottom_and_shows_images(
    file: Path, output: Path, study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in STAGES:
        monkeypatch.setenv(stage.upper(), str(output / "runs" / f"quickstart_{stage}"))
    monkeypatch.setenv("OUTPUT", str(output))
    monkeypatch.setenv("STUDY", str(study_file))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
    images = [one for one in outputs if "image/png" in one.get("data", {})]
    assert images


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebook_defines_nothing_and_is_kept_without_outputs(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            nodes = ast.walk(ast.parse(cell.source))
            defined = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda)
            assert not [node for node in nodes if isinstance(node, defined)]
