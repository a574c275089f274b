"""A release as an MLflow model that answers as `predict` does; `export --register` logs this file.

mlflow models serve -m models:/NAME@champion --env-manager local
"""

from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from datamodules.sample import GOOD_ID
from experiments.cli import error_line, is_user_error
from experiments.inference.result_files import annotation, compressed
from experiments.predictor import Predictor, Result, load_predictor

RELEASE = "release"  # the artifact that holds it
IMAGE, PATH, LABELS = "image", "path", "labels"


class Refusal(MlflowException):
    """What a client got wrong: status 400 and one line, to which the server adds nothing."""

    def __init__(self, line: str) -> None:
        self._line = line
        super().__init__(line, error_code=INVALID_PARAMETER_VALUE)

    @property
    def message(self) -> str:
        """The line."""
        return self._line

    @message.setter
    def message(self, _: str) -> None:
        """The server would put the whole request before it."""


class ServedModel(PythonModel):
    """Answers rows with an `image`, the bytes of its file, or the `path` of one.

    The parameter `labels` is read as `predict --labels` is; without it names are those of the
    release, its gallery among them.
    """

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the release."""
        self.predictor = load_predictor(context.artifacts[RELEASE])
        # A server answers several clients at once, and the words are the predictor's.
        self._turn = Lock()

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, object]]:
        """An answer (`answer_of`) for each row; Refusal for what is no image or no labels."""
        labels = (params or {}).get(LABELS) or None
        with self._turn:
            return [
                self._answer(place + 1, model_input.iloc[place].to_dict(), labels)
                for place in range(len(model_input))
            ]

    def _answer(self, number: int, row: dict[str, Any], labels: str | None) -> dict[str, object]:
        # A frame fills what a row lacks with nan.
        given = {key: one for key in (IMAGE, PATH) if (one := row.get(key)) and one == one}
        if len(given) != 1:
            raise Refusal(f"row {number}: got both or none of {IMAGE} and {PATH}: expected one")
        with NamedTemporaryFile() as file:
            file.write(given.get(IMAGE, b""))
            file.flush()
            try:
                return answer_of(self.predictor.predict(given.get(PATH, file.name), labels))
            except Exception as error:
                if not is_user_error(error):
                    raise
                line = error_line(error).replace(file.name, IMAGE)
                raise Refusal(f"row {number}: {line}") from error


def answer_of(result: Result) -> dict[str, object]:
    """What the image shows, and its regions as COCO has them, each with its name.

    label_map: by name, the run lengths of what the label map gives to it.
    """
    height, width = result.label_map.shape
    return {
        "answer": result.name,
        "image_score": result.image_score,
        "needs_review": result.needs_review,
        "type_scores": dict(zip(result.names, result.type_scores.tolist(), strict=True)),
        "width": width,
        "height": height,
        "instances": [
            {"name": one.name, **annotation(one, compressed)} for one in result.instances
        ],
        "label_map": {
            name: compressed(result.label_map == class_id)
            for class_id, name in enumerate(result.names)
            if class_id != GOOD_ID and (result.label_map == class_id).any()
        },
    }


mlflow.models.set_model(ServedModel())
