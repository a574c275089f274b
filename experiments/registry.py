"""A release in MLflow's registry, as a model that `mlflow models serve` answers with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, MLFLOW_REGISTRY_URI
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType
from PIL import Image

from experiments import served_model
from experiments.run_logger import RUN_ID_NAME
from experiments.tracking import URI_VARIABLE, artifact_folder, initialise_tracking, one_line

EXPERIMENT = "releases"
SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.binary, served_model.IMAGE, required=False),
            ColSpec(DataType.string, served_model.PATH, required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.string, "answer"),
            ColSpec(DataType.double, "image_score"),
            ColSpec(DataType.boolean, "needs_review"),
            ColSpec(DataType.long, "width"),
            ColSpec(DataType.long, "height"),
            *(ColSpec(AnyType(), name) for name in ("type_scores", "instances", "label_map")),
        ]
    ),
    params=ParamSchema([ParamSpec(served_model.LABELS, DataType.string, "")]),
)


def register(release: Path, *, name: str, alias: str, output: Path, run_directory: Path) -> int:
    """Logs the release as a model, registers it, and gives the new version the alias.

    output: the folder of the tracker; run_directory: of the run that the release is of, which the
    model then belongs to where this tracker knows it, else to a run of its own. The number of the
    version. Raises TrackerError, one line.
    """
    uri = initialise_tracking(output)
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    with one_line(uri), _tracked_at(uri):
        client = MlflowClient(uri, uri)
        run = _run_of(client, run_directory, output)
        # Made here, so that it lies where the run's experiment has its files.
        model = client.create_logged_model(
            run.info.experiment_id, name="model", source_run_id=run.info.run_id
        )
        logged = Model.log(
            artifact_path=None,
            model_id=model.model_id,
            flavor=mlflow.pyfunc,
            run_id=run.info.run_id,
            registered_model_name=name,
            python_model=served_model.__file__,
            artifacts={served_model.RELEASE: str(release.resolve())},
            signature=SIGNATURE,
            input_example=_example(),
            # Named here, for else the whole program would be run to see what it imports.
            pip_requirements=[f"diffuse-defect=={version('diffuse-defect')}"],
        )
        number = int(logged.registered_model_version)
        client.set_registered_model_alias(name, alias, str(number))
    return number


@contextmanager
def _tracked_at(uri: str) -> Iterator[None]:
    """The calls of MLflow that take no client go to this tracker inside, and after as before."""
    before = {name: os.environ.get(name) for name in (URI_VARIABLE, MLFLOW_REGISTRY_URI.name)}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        # MLflow writes what it is told into the environment as well, where runs look.
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _run_of(client: MlflowClient, directory: Path, output: Path) -> Run:
    """The tracked run of a run directory, or a new one."""
    noted = directory / RUN_ID_NAME
    if noted.is_file():
        with suppress(MlflowException):
            return client.get_run(noted.read_text(encoding="utf-8").strip())
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else ""
    if not experiment:
        experiment = client.create_experiment(EXPERIMENT, artifact_folder(output))
    run = client.create_run(experiment, run_name=directory.name)
    client.set_terminated(run.info.run_id)
    return run


def _example() -> pd.DataFrame:
    """A row with a small grey image."""
    content = BytesIO()
    Image.new("L", (64, 64), 128).save(content, "PNG")
    return pd.DataFrame([{served_model.IMAGE: content.getvalue()}])
