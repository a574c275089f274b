"""A student from a file of onnxruntime or OpenVINO, that answers as the run it was exported from.

The file holds the net from pixels to scores and, as text, the names, thresholds and settings of
what comes after, which is the one post-processing of all. `experiments/exporting.py` writes it.
"""

import hashlib
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from datamodules.transforms import to_pixels
from datamodules.vocabulary import Vocabulary
from experiments.checkpoints import parse_thresholds
from lightning_modules.segmentation_module import SegmentationModule, check_closed_list
from lightning_modules.weights_io import STAMP, first_line

ONNX, OPENVINO = ".onnx", ".xml"
NO_FINGERPRINT = "0" * 64
INPUT, OUTPUTS = "pixels", ("maps", "answer")
RunGraph = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class FileCard:
    """What travels with the net as text.

    entries: the words of each class, good first; thresholds: a thresholds.json's content, empty
    for the defaults; post_processing: its settings by name; trained_sha256: of the checkpoint;
    fingerprint: SHA-256 of the file, and for OpenVINO of the weights beside it, with zeros in the
    place of these 64 digits.
    """

    entries: tuple[tuple[str, ...], ...]
    tile_px: int
    tile_overlap_px: int
    post_processing: dict[str, float]
    trained_sha256: str
    thresholds: dict[str, object] = field(default_factory=dict)
    fingerprint: str = NO_FINGERPRINT

    def text(self) -> str:
        """The card as JSON."""
        return json.dumps(asdict(self), ensure_ascii=True)


def read_card(text: str, content: bytes, file: Path) -> FileCard:
    """The card in the text of a file's `content`; ValueError where either is not as it was."""
    try:
        card = FileCard(**json.loads(text))
        digest = hashlib.sha256(content.replace(card.fingerprint.encode(), NO_FINGERPRINT.encode()))
        is_whole = digest.hexdigest() == card.fingerprint
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: {first_line(error)}: {REMEDY}") from error
    if not is_whole:
        raise ValueError(f"{file} has changed since it was written: {REMEDY}")
    return card


REMEDY = "expected what python -m experiments.export --to writes; export it again"


class ExportedModel(SegmentationModule):
    """Answers by the scores of a graph; it can't be trained, and its list of names is closed."""

    stage = "exported"
    sees_any_size = True

    def __init__(self, run_graph: RunGraph, card: FileCard) -> None:
        """run_graph: pixels (T, H, W, 3) uint8 -> maps (T, K, H, W) and answers (T, K+1)."""
        super().__init__(card.tile_px, card.tile_overlap_px, tile_batch_size=1)
        self.run_graph = run_graph
        for name, value in card.post_processing.items():
            setattr(self.post_processing, name, value)
        if card.thresholds:
            self.post_processing.calibrate(parse_thresholds(card.thresholds))
        self.set_vocabulary(Vocabulary(tuple(map(tuple, card.entries))))

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """ValueError for other names than the student's."""
        if self.vocabulary is not None:
            check_closed_list(vocabulary, known=self.vocabulary, class_count=len(self.vocabulary))

    def store_frozen_in(self, dtype: torch.dtype) -> None:
        """ValueError: the file's numbers are what they are."""
        raise ValueError(
            f"got the precision {dtype}, but an exported file has its own: leave --precision out, "
            "or export with --int8"
        )

    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Type maps (T, K, H, W) and answers (T, K+1) of tiles (T, 3, H, W) in [-1, 1]."""
        maps, answers = self.run_graph(np.stack([to_pixels(one) for one in tiles]))
        return torch.from_numpy(maps), torch.from_numpy(answers)


def is_exported(path: Path) -> bool:
    """Whether `path` names a file of another runtime."""
    return path.suffix in (ONNX, OPENVINO)


def open_exported(file: Path, device: str = "") -> ExportedModel:
    """The model in an .onnx, or in an .xml with its .bin, on the CPU, with torch's thread count.

    Raises FileNotFoundError, or ValueError for another device, a missing package, and a file that
    is not ours, half there or changed.
    """
    if device not in ("", "cpu"):
        raise ValueError(f"device is {device!r}, but {file.name} runs on the CPU: leave it out")
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: expected an exported .onnx or .xml file")
    run_graph, text, content = (open_onnx if file.suffix == ONNX else open_openvino)(file)
    return ExportedModel(run_graph, read_card(text, content, file)).eval()


def open_onnx(file: Path) -> tuple[RunGraph, str, bytes]:
    """The graph in an .onnx file, the text of its card, and its bytes."""
    onnxruntime = import_package("onnxruntime", extra="onnx")
    faults = onnxruntime.capi.onnxruntime_pybind11_state
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    content = file.read_bytes()
    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    except (faults.Fail, faults.InvalidGraph, faults.InvalidProtobuf, RuntimeError) as error:
        raise ValueError(f"{file} can't be opened ({first_line(error)}): {REMEDY}") from error
    text = session.get_modelmeta().custom_metadata_map.get(STAMP)
    if text is None:
        raise ValueError(f"{file} is an ONNX file of somebody else: {REMEDY}")

    def run_graph(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        maps, answers = session.run(list(OUTPUTS), {INPUT: pixels})
        return maps, answers

    return run_graph, text, content


def open_openvino(file: Path) -> tuple[RunGraph, str, bytes]:
    """The graph in an .xml and its .bin, the text of its card, and the bytes of both."""
    openvino = import_package("openvino", extra="openvino")
    weights = file.with_suffix(".bin")
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} is missing: expected it beside {file.name}")
    core = openvino.Core()
    try:
        model = core.read_model(file)
        if not model.has_rt_info([STAMP]):
            raise ValueError(f"{file} is an OpenVINO file of somebody else: {REMEDY}")
        text = str(model.get_rt_info([STAMP]).value)
        content = file.read_bytes() + weights.read_bytes()
        # Less than 32 bits, the default on some processors, would answer otherwise there.
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise ValueError(f"{file} can't be opened ({first_line(error)}): {REMEDY}") from error

    def run_graph(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = request.infer({INPUT: pixels})
        maps, answers = (np.array(found[name]) for name in OUTPUTS)
        return maps, answers

    return run_graph, text, content


def import_package(package: str, *, extra: str) -> ModuleType:
    """A package that an extra of this one installs; ValueError, with the command, without it."""
    if package == "openvino":
        # Else to import it is reported over the network; where this is missing, nothing is.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"the package {package} is missing: pip install '.[{extra}]' in the repository"
        ) from error
