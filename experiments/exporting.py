"""A student as files for onnxruntime and OpenVINO, each held to the trained student's answers.

The command is `export.py --to`; `inference/exported_model.py` opens what is written here.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from datamodules.imdd import IMDDDataModule
from datamodules.sampler import Draw
from datamodules.transforms import to_pixels
from experiments.checkpoints import THRESHOLDS_NAME, Restored
from experiments.inference.exported_model import (
    INPUT,
    NO_FINGERPRINT,
    ONNX,
    OPENVINO,
    OUTPUTS,
    FileCard,
    import_package,
)
from lightning_modules.student import Student
from lightning_modules.weights_io import STAMP, sha256_of

FORMATS = {"onnx": ONNX, "openvino": OPENVINO}
PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "onnxruntime", "openvino")}
POST_PROCESSING = ("min_area_px", "max_instances", "peak_share", "extent_share")
INT8 = "onnx int8"
OPSET = 17
CALIBRATION_IMAGES = 100
# With the activations, so that a convolution's range is that after them: without, the scores of a
# student of NEU-Seg were off by 0.25; with sums and joins as well by three times as much as so.
QUANTISED = ["Conv", "Clip", "Relu"]
# The first ones see few channels of wide ranges: in 8 bits these two alone made most of what the
# scores of a student of magnetic tiles were off by.
KEPT_CONVOLUTIONS = 2


def check_student(restored: Restored, formats: Sequence[str]) -> Student:
    """The student; ValueError for another model, or where a format's package is missing."""
    if not isinstance(restored.model, Student):
        raise ValueError(
            f"--to {' '.join(formats)}: got {type(restored.model).__name__}, expected a student: "
            "train one with run --config student.yaml --teacher RUN"
        )
    for one in formats:
        for package in PACKAGES[one]:
            import_package(package, extra=one)
    return restored.model


def write_files(
    folder: Path,
    student: Student,
    card: FileCard,
    formats: Sequence[str],
    *,
    calibrate_on: Iterator[Tensor] | None = None,
) -> dict[str, Path]:
    """Writes model.onnx, model.xml and, for onnxruntime, model_int8.onnx; the files by format.

    calibrate_on: images (3, H, W) in [-1, 1] whose scores set the ranges of 8 bits, None for none.
    """
    files = {}
    with TemporaryDirectory() as other:
        graph = Path(other, "model.onnx")
        write_graph(student, graph)
        for one in formats:
            files[one] = folder / f"model{FORMATS[one]}"
            (write_onnx if one == "onnx" else write_openvino)(graph, files[one], card)
        if calibrate_on is not None:
            # OpenVINO answers otherwise from the same 8-bit graph.
            files[INT8] = folder / "model_int8.onnx"
            write_onnx(quantise(graph, calibrate_on), files[INT8], card)
    return files


def card_of(student: Student, restored: Restored | None = None) -> FileCard:
    """What travels with the net, without a fingerprint yet; restored: the run it comes from."""
    assert student.vocabulary
    thresholds = restored.directory / THRESHOLDS_NAME if restored else None
    has_some = thresholds is not None and thresholds.is_file()
    return FileCard(
        entries=student.vocabulary.entries,
        tile_px=student.tile_px,
        tile_overlap_px=student.tile_overlap_px,
        post_processing={name: getattr(student.post_processing, name) for name in POST_PROCESSING},
        trained_sha256=sha256_of(restored.saved.file) if restored else "",
        thresholds=json.loads(thresholds.read_text("utf-8")) if thresholds and has_some else {},
    )


def write_graph(student: Student, file: Path) -> None:
    """The net from uint8 pixels of any number and size to scores, as an ONNX graph alone."""
    pixels = torch.zeros(1, student.window_px, student.window_px, 3, dtype=torch.uint8)
    maps, answer = OUTPUTS
    sizes = {0: "images", 1: "height", 2: "width"}
    with warnings.catch_warnings():
        # It says of each size that it might be a constant; the tests hold that none is.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            student.cpu().eval(),
            (pixels,),
            file,
            dynamo=False,  # the other exporter needs onnxscript, and fixes the sizes
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes={
                INPUT: sizes,
                maps: {0: "images", 2: "height", 3: "width"},
                answer: {0: "images"},
            },
        )


def quantise(graph: Path, images: Iterator[Tensor]) -> Path:
    """The graph with convolutions in 8 bits, beside it; ranges are those of the images."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(images, None)
            return None if image is None else {INPUT: to_pixels(image)[None]}

    ready, quantised = graph.with_name("ready.onnx"), graph.with_name("int8.onnx")
    # Its advice is to do what is done here.
    logging.disable(logging.WARNING)
    try:
        quant_pre_process(graph, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            quantised,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=QUANTISED,
            nodes_to_exclude=first_convolutions(ready),
        )
    finally:
        logging.disable(logging.NOTSET)
    return quantised


def first_convolutions(graph: Path) -> list[str]:
    """The names of those that stay in 32 bits."""
    onnx = import_package("onnx", extra="onnx")
    nodes = onnx.load(graph, load_external_data=False).graph.node
    return [node.name for node in nodes if node.op_type == "Conv"][:KEPT_CONVOLUTIONS]


def write_onnx(graph: Path, file: Path, card: FileCard) -> None:
    """The graph with its card in the metadata."""
    onnx = import_package("onnx", extra="onnx")
    model = onnx.load(graph)
    model.doc_string = "pixels (N, H, W, 3) uint8, red first -> maps (N, K, H, W), answer (N, K+1)"
    onnx.helper.set_model_props(model, {STAMP: card.text()})
    onnx.save(model, file)
    sign(file, [file], card)


def write_openvino(graph: Path, file: Path, card: FileCard) -> None:
    """The graph as .xml and .bin, with its card in the .xml."""
    openvino = import_package("openvino", extra="openvino")
    # Not by convert_model, which would report its use over the network.
    model = openvino.Core().read_model(graph)
    model.set_rt_info(card.text(), [STAMP])
    openvino.save_model(model, file, compress_to_fp16=False)
    sign(file, [file, file.with_suffix(".bin")], card)


def sign(file: Path, parts: Sequence[Path], card: FileCard) -> None:
    """Puts the fingerprint of the parts in the place that the file's card keeps for it."""
    digest = hashlib.sha256(b"".join(one.read_bytes() for one in parts)).hexdigest()
    content = file.read_bytes()
    assert content.count(NO_FINGERPRINT.encode()) == 1
    file.write_bytes(content.replace(NO_FINGERPRINT.encode(), digest.encode()))


def images_of(data: LightningDataModule, split: str, most: int, remedy: str) -> Iterator[Tensor]:
    """Whole images (3, H, W) of a split, spread over it; ValueError where the data is not there."""
    assert isinstance(data, IMDDDataModule)
    try:
        data.prepare_data()
        data.setup()
        dataset = data.whole_images(split).dataset
    except (OSError, ValueError) as error:
        raise ValueError(f"the run's {split} images can't be read: {error}; or {remedy}") from error
    rows = dataset.rows  # type: ignore[attr-defined]
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return (dataset[Draw(int(rows[place]), 0)].image for place in places)  # type: ignore[index]
