"""Holds that a registered release answers over HTTP with the numbers of `predict`, and refuses."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

from experiments.cli import call_command
from experiments.export import export
from experiments.predictor import load_predictor
from experiments.served_model import answer_of
from experiments.tracking import URI_VARIABLE, tracking_uri
from tests.experiments.refused import refused
from tests.experiments.small_stages import write_run

NAME = "parts@champion"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of an untrained stage 2 that finds regions, registered in a tracker beside it."""
    folder = tmp_path_factory.mktemp("served")
    run = write_run(folder / "run", "stage2_tiny.yaml", {"model.init_args.pretrained": "random"})
    point = {"pixel_threshold": 0.3, "image_threshold": 0.3}
    (run / "thresholds.json").write_text(json.dumps(point))
    words = ["--checkpoint", str(run), "--out", str(folder / "release")]
    words += ["--register", NAME, "--output", str(folder / "mlruns")]
    call_command(export, words)
    return folder / "release"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey image with a dark bar."""
    file = tmp_path_factory.mktemp("images") / "part.png"
    picture = Image.new("L", (48, 40), 150)
    picture.paste(20, (10, 12, 34, 20))
    picture.save(file)
    return file


@pytest.fixture(scope="module")
def address(release: Path) -> Iterator[str]:
    """Where `mlflow models serve` answers on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["models", "serve", "-m", f"models:/{NAME}", "--env-manager", "local"]
    place = {
        "MLFLOW_TRACKING_URI": tracking_uri(release.parent / "mlruns"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words, "-h", "127.0.0.1", "-p", str(port)],
        env={**os.environ, **place},
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(2400):
            try:
                urlopen(f"{address}/ping").close()
                break
            except (URLError, ConnectionError):
                assert server.poll() is None
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def asked(address: str, body: object) -> tuple[int, dict[str, object]]:
    """Status and content of the answer to a body, as it is or as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(f"{address}/invocations", content, {"Content-Type": "application/json"})
    try:
        with urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def test_served_model_answers_with_the_numbers_of_predict(
    release: Path, image: Path, address: str
) -> None:
    predictor = load_predictor(release)
    expected = [answer_of(predictor.predict(image, labels)) for labels in (None, "rust; pit")]
    assert expected[0]["instances"] and expected[0] != expected[1]
    sent = base64.b64encode(image.read_bytes()).decode()
    found = [
        asked(address, {"dataframe_records": [{"image": sent}]}),
        asked(
            address,
            {"dataframe_records": [{"path": str(image)}], "params": {"labels": "rust; pit"}},
        ),
    ]
    for (status, content), one in zip(found, expected, strict=True):
        assert status == 200
        (answer,) = content["predictions"]  # type: ignore[misc]
        scores = answer.pop("type_scores"), one.pop("type_scores")
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)
        assert answer["image_score"] == pytest.approx(one.pop("image_score"), abs=1e-6)
        assert set(one) < set(answer) and answer["answer"] == one["answer"]
        assert [region["segmentation"] for region in answer["instances"]] == [
            region["segmentation"]
            for region in one["instances"]  # type: ignore[attr-defined]
        ]
        assert answer["label_map"] == one["label_map"]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"dataframe_records": [{"image": "bm8gaW1hZ2U="}]}, "row 1: image "),
        ({"dataframe_records": [{"path": "/none/such.png"}]}, "row 1: "),
        ({"dataframe_records": [{"path": ""}]}, "row 1: got both or none of image and path"),
        ({"dataframe_records": [{"path": "PART"}], "params": {"labels": " ; "}}, "row 1: "),
        ({"dataframe_records": [{"path": "PART"}], "params": {"labels": 3}}, ""),
        (b"{ no json", ""),
        ({"rows": []}, ""),
    ],
)
def test_bad_body_gets_400_and_what_is_ours_to_say_in_one_line(
    body: object, line: str, image: Path, address: str
) -> None:
    if not isinstance(body, bytes):
        body = json.loads(json.dumps(body).replace("PART", str(image)))
    status, content = asked(address, body)
    message = str(content["message"])
    assert status == 400 and message.startswith(line)
    assert not line or "\n" not in message


def test_version_has_its_signature_an_example_and_the_alias(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To register tells no later run of this process where to go.
    assert "mlflow.db" not in os.environ.get(URI_VARIABLE, "")
    uri = tracking_uri(release.parent / "mlruns")
    client = MlflowClient(uri, uri)
    version = client.get_model_version_by_alias("parts", "champion")
    assert int(version.version) == 1
    monkeypatch.setenv(URI_VARIABLE, uri)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}")
    assert set(model.metadata.get_input_schema().input_names()) == {"image", "path"}
    (answer,) = model.predict(model.input_example)
    assert (answer["width"], answer["height"]) == (64, 64)


def test_what_can_not_be_registered_is_one_line(release: Path, tmp_path: Path) -> None:
    words = ["--checkpoint", release, "--out", tmp_path / "new", "--register"]
    assert refused(export, *words, "parts").startswith("--register 'parts': expected NAME@ALIAS")
    stage1 = write_run(tmp_path / "one", "stage1_tiny.yaml", {})
    line = refused(export, "--checkpoint", stage1, *words[2:], NAME)
    assert "DiffusionPretrain finds no regions to name" in line
    assert not (tmp_path / "new").exists()
