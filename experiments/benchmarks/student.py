"""A student's images a second in each format beside its teacher's; its memory, and where time goes.

Without a trained student all nets have random weights, which cost the same, and find no regions.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from torch import Tensor

from datamodules.decode import open_image
from datamodules.sources.synthetic import Synthetic
from datamodules.transforms import to_pixels, to_tensor
from datamodules.vocabulary import Vocabulary
from experiments.benchmarks.data import find_images
from experiments.benchmarks.measurement import (
    BenchSettings,
    Measurement,
    Words,
    Work,
    compare_times,
    count_tf,
    threads,
    time_in_turns,
)
from experiments.checkpoints import load_any, load_stage
from experiments.config import build_stage, load_config, parse_stage
from experiments.exporting import card_of, check_student, write_files
from experiments.inference.exported_model import open_exported
from lightning_modules.baselines.memory_bank import MemoryBank
from lightning_modules.baselines.unet import Unet
from lightning_modules.nets.image_encoder import resized
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.student import Student

FORMATS = ("onnx", "openvino")
SIDES_PX, CORES, IMAGES = (256, 512), (1, 2), 2
PARTS_OF_TIME = ("file to pixels", "pixels to tensor", "net", "regions and names")
WEIGHTS = "efficientnet_lite0"
BANK_VECTORS = 8000
NAMES = 5
# Prints the peak of a process that answers one image: by all of ours, or by the runtime alone. What
# `getrusage` calls the peak begins at that of the process which started it.
ANSWER = """
import sys
file, image, way = sys.argv[1:]
if way == "predict":
    from experiments.predictor import load_predictor
    load_predictor(file).predict(image)
else:
    import numpy, PIL.Image
    pixels = numpy.asarray(PIL.Image.open(image).convert("RGB"))[None]
    if file.endswith("onnx"):
        import onnxruntime
        onnxruntime.InferenceSession(file).run(None, {"pixels": pixels})
    else:
        sys.modules["openvino_telemetry"] = None
        import openvino
        openvino.Core().compile_model(file, "CPU")({"pixels": pixels})
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024)
"""


@contextmanager
def student_files(settings: BenchSettings) -> Iterator[tuple[Student, dict[str, Path]]]:
    """The student and its files by format, 8 bits too, which are gone afterwards."""
    images = bench_images(settings, SIDES_PX[0])
    if settings.checkpoint:
        restored = load_any(settings.checkpoint)
        student = check_student(restored, FORMATS)
        card = card_of(student, restored)
    else:
        built = untrained("student.yaml")
        assert isinstance(built, Student)
        student = built
        card = card_of(student)
    with TemporaryDirectory() as folder:
        files = write_files(Path(folder), student, card, FORMATS, calibrate_on=images)
        yield student, files


def untrained(config: str, **overrides: str) -> SegmentationModule:
    """The model of a shipped config with random weights, for five names."""
    raw = {"name": "bench", **load_config([config], overrides)}
    model = build_stage(parse_stage(raw)).model
    model.set_vocabulary(names())
    return model.eval()


def names() -> Vocabulary:
    """Five names of defects."""
    return Vocabulary.from_names([f"defect {number}" for number in range(NAMES)])


def torch_systems(settings: BenchSettings, student: Student) -> dict[str, SegmentationModule]:
    """The teacher first, then what runs on torch beside it."""
    if student.teacher:
        teacher = load_stage(student.teacher_path)
    else:
        teacher = untrained("hybrid_tiny.yaml", pretrained="random")
        teacher.measure(next(bench_images(settings, SIDES_PX[0]))[None])
    unet = Unet(weights=WEIGHTS, class_count=NAMES + 1, tile_overlap_px=16)
    bank = MemoryBank(weights=WEIGHTS)
    bank.bank = torch.rand(BANK_VECTORS, bank.bank.shape[1])
    for one in (unet, bank):
        one.set_vocabulary(names())
    return {
        "teacher": teacher,
        "plain U-Net": unet.eval(),
        "memory bank": bank.eval(),
        "student, torch": student.eval(),
    }


def bench_images(settings: BenchSettings, side_px: int) -> Iterator[Tensor]:
    """Images (3, side, side) in [-1, 1], of the folder or rendered."""
    with TemporaryDirectory() as folder:
        if settings.images is not None:
            paths = find_images(settings.images)
        else:
            source = Synthetic(2 * NAMES, side_px)
            paths = [Path(folder) / record.image for record in source.records(Path(folder))]
        for path in paths:
            image = resized(to_tensor(open_image(path))[None], side_px)[0]
            yield to_tensor(to_pixels(image))


def measure_speed(settings: BenchSettings) -> list[Measurement]:
    """Images a second from an image to its named regions, each system beside the teacher."""
    rows = []
    with student_files(settings) as (student, files), torch.inference_mode():
        systems = torch_systems(settings, student)
        for cores in CORES:
            with threads(cores):
                opened = {f"student, {one}": open_exported(file) for one, file in files.items()}
            for side_px in SIDES_PX:
                images = list(islice(bench_images(settings, side_px), IMAGES))
                rows += speed_rows({**systems, **opened}, images, cores, settings.repeats)
    return rows


def speed_rows(
    systems: dict[str, SegmentationModule], images: Sequence[Tensor], cores: int, repeats: int
) -> list[Measurement]:
    """One size on so many cores; the limit is by how much a system has less work than the first."""
    calls = [partial(answer, model, images) for model in systems.values()]
    times = time_in_turns(calls, repeats=repeats, cores=cores)
    work = {
        name: count_tf(partial(model.image_scores, images[:1]))
        for name, model in systems.items()
        if not name.startswith("student, o")
    }
    first, side_px = next(iter(systems)), images[0].shape[-1]
    return [
        compare_times(
            f"{name}, {side_px} px, {cores} core{'s' * (cores > 1)}",
            own,
            times[0],
            count=len(images),
            unit="images/s",
            limit=work[first] / work.get(name, work["student, torch"]),
            settings={"clock": "of the processor" if cores == 1 else "of the wall"},
        )
        for name, own in list(zip(systems, times, strict=True))[1:]
    ]


def answer(model: SegmentationModule, images: Sequence[Tensor]) -> None:
    """Predicts one image after the other, as they come from a camera."""
    for image in images:
        model.predict_image(image)


def measure_shares(settings: BenchSettings) -> list[Measurement]:
    """Which share of the time from a file to named regions each part takes, on one core."""
    rows = []
    side_px = SIDES_PX[0]
    with (
        student_files(settings) as (student, files),
        TemporaryDirectory() as folder,
        torch.inference_mode(),
    ):
        image = next(bench_images(settings, side_px))
        file = Path(folder, "image.png")
        Image.fromarray(to_pixels(image)).save(file)
        with threads(1):
            opened = {one: open_exported(file) for one, file in files.items()}
        for name, model in {"torch": student.eval(), **opened}.items():
            pixels = open_image(file)
            (scores,) = model.image_scores([image])
            calls: list[Work] = [
                partial(open_image, file),
                partial(to_tensor, pixels),
                partial(model.image_scores, [image]),
                partial(model.post_processing, scores),
            ]
            times = time_in_turns(calls, repeats=settings.repeats)
            medians = [sorted(seconds)[len(seconds) // 2] for seconds in times]
            for part, seconds in zip(PARTS_OF_TIME, medians, strict=True):
                words: Words = {"px": side_px, "ms": 1000 * seconds}
                share = seconds / sum(medians)
                row = f"{part}, {name}"
                rows.append(Measurement(row, share, None, "of the time", None, None, words))
    return rows


def measure_memory(settings: BenchSettings) -> list[Measurement]:
    """MB at the peak of a process that answers one image of 512 px, beside the run by torch."""
    with student_files(settings) as (_, files), TemporaryDirectory() as folder:
        image = Path(folder, "image.png")
        Image.fromarray(to_pixels(next(bench_images(settings, SIDES_PX[-1])))).save(image)
        run = peak_mb(settings.checkpoint, image, "predict") if settings.checkpoint else None
        rows = []
        for name, file in files.items():
            for way in ("predict", "runtime alone"):
                own = peak_mb(file, image, way)
                words: Words = {"file MB": file_mb(file), "px": SIDES_PX[-1]}
                ratio = run / own if run else None
                rows.append(
                    Measurement(f"memory, {name}, {way}", own, run, "MB", ratio, None, words)
                )
    return rows


def file_mb(file: Path) -> float:
    """MB of a model's files."""
    weights = file.with_suffix(".bin")
    return sum(one.stat().st_size for one in {file, weights} if one.is_file()) / 1e6


def peak_mb(file: Path, image: Path, way: str) -> float:
    """MB at the peak of a new process, on Linux; RuntimeError with what it said where it failed."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, str(file), str(image), way],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{way} of {file} failed: {done.stderr.strip()[-300:]}")
    return float(done.stdout.split()[-1])


PARTS = {"speed": measure_speed, "shares": measure_shares, "memory": measure_memory}
