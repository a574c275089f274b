"""`export`: a trained stage as a folder to give away: safetensors, configuration, card, hashes.

    python -m experiments.export --checkpoint RUN --out DIR
    python -m experiments.export --checkpoint RUN --out DIR --register parts@champion
    python -m experiments.export --checkpoint STUDENT --out DIR --to onnx openvino --int8

The weights' files are `release.py`, those of other runtimes `exporting.py`, the card is
`model_card.py`.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.cli import check_is_free, run_command, whole_folder

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.checkpoints import Restored
    from lightning_modules.nets.gallery import Gallery
    from lightning_modules.segmentation_module import SegmentationModule

# All that a release may hold at its top; with --overwrite a folder of nothing else is replaced.
ENTRIES = (
    "README.md",
    "config.yaml",
    "gallery",
    "manifest.sha256",
    "release.json",
    "seen_regions",
    "thresholds.json",
    "model_index.json",
    "model.safetensors",
    "implicit_captioner",
    "scheduler",
    "text_encoder",
    "tokenizer",
    "unet",
    "vae",
    "model.onnx",
    "model.xml",
    "model.bin",
    "model_int8.onnx",
    "parity.json",
)
PARITY_IMAGES = 200


def export(
    *,
    checkpoint: Path,
    out: Path,
    examples: Path | None = None,
    to: list[Literal["onnx", "openvino"]] | None = None,
    int8: bool = False,
    parity_images: str = "",
    licence: str = "",
    register: str = "",
    output: Path = Path("mlruns"),
    overwrite: bool = False,
) -> None:
    """Write a trained stage as a release: safetensors, config, card, hashes.

    Args:
        checkpoint: a run directory of one stage, or a .ckpt
        out: a new folder for the release
        examples: as predict takes them: the release names by them beside its words
        to: of a student also the whole way from pixels to scores as a file of these runtimes, once
            its answers are proven to be those of the student
        int8: with --to onnx, also in 8 bits, whose ranges are those of 100 training images
        parity_images: with --to, what the proof is made on, as predict's --images (default: 200 of
            the run's test images)
        licence: SPDX name of the weights' licence, for the card
        register: NAME@ALIAS: also a new version of this model in MLflow's registry, which
            `mlflow models serve -m models:/NAME@ALIAS --env-manager local` answers with
        output: the folder of the tracker that it is registered in
        overwrite: replace an earlier release in --out
    """
    check_is_free(out, entries=ENTRIES, overwrite=overwrite)
    if (int8 and "onnx" not in (to or ())) or (parity_images and not to):
        raise ValueError("--int8 and --parity_images are for other runtimes: add --to onnx")
    name, alias = parse_name(register) if register else ("", "")
    import transformers

    from experiments.checkpoints import GALLERY, load_any
    from experiments.model_card import card_text
    from experiments.release import write_release
    from lightning_modules.weights_io import write_manifest

    transformers.logging.disable_progress_bar()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    restored = load_any(checkpoint)
    if register:
        check_finds(restored, f"--register {register}")
    if to:
        from experiments.exporting import check_student

        check_student(restored, to)
    gallery = gallery_of(examples, restored) if examples else None
    with whole_folder(out, entries=ENTRIES, overwrite=overwrite) as folder:
        reason = write_release(folder, restored)
        if gallery:
            gallery.save(folder / GALLERY)
        text = card_text(restored, reason=reason, licence=licence)
        if to:
            text += write_for_runtimes(folder, restored, to, int8, parity_images)
        (folder / "README.md").write_text(text, encoding="utf-8")
        write_manifest(folder)
        check_same(restored, load_any(folder))
    print(f"layout: single file ({reason})" if reason else "layout: diffusers pipeline")
    print(f"release: {out.resolve()}")
    if register:
        from experiments.registry import register as put

        number = put(out, name=name, alias=alias, output=output, run_directory=restored.directory)
        print(f"model: version {number} of {name}, now models:/{register}")


def write_for_runtimes(
    folder: Path, restored: "Restored", formats: Sequence[str], int8: bool, parity_images: str
) -> str:
    """Writes files of other runtimes and parity.json; prints the table and gives it for the card.

    ValueError where an answer is off by more than its tolerance.
    """
    from experiments.exporting import (
        CALIBRATION_IMAGES,
        card_of,
        check_student,
        images_of,
        write_files,
    )
    from experiments.parity import check_parity, measure_parity, parity_table, write_parity
    from experiments.tables import print_table, to_markdown

    images = proof_images(restored, parity_images)
    student = check_student(restored, formats)
    calibrate_on = None
    if int8:
        calibrate_on = images_of(restored.data, "train", CALIBRATION_IMAGES, "leave --int8 out")
    card = card_of(student, restored)
    files = write_files(folder, student, card, formats, calibrate_on=calibrate_on)
    found, count = measure_parity(student, files, images)
    table = parity_table(found, count)
    print_table(table)
    check_parity(found)
    write_parity(folder / "parity.json", found, count)
    names = ", ".join(f"`{file.name}`" for file in files.values())
    return (
        f"\n## Other runtimes\n\n{names}: pixels in, scores out, names and thresholds inside; "
        f"`predict --checkpoint` opens them. {table.title}:\n\n{to_markdown(table)}"
    )


def proof_images(restored: "Restored", named: str) -> "Iterator[Tensor]":
    """The images (3, H, W) in [-1, 1] that answers are compared on; ValueError for none."""
    from datamodules.transforms import to_tensor
    from experiments.exporting import images_of
    from experiments.inference.inputs import find_images
    from experiments.predictor import read_pixels

    if not named:
        remedy = "name images with --parity_images"
        return images_of(restored.data, "test", PARITY_IMAGES, remedy)
    inputs, _ = find_images(named, "")
    return (to_tensor(read_pixels(one.path)) for one in inputs[:PARITY_IMAGES])


def gallery_of(examples: Path, restored: "Restored") -> "Gallery":
    """The gallery of the examples; ValueError for a stage that finds no regions to name."""
    from experiments.inference.examples import ENCODER, read_gallery
    from lightning_modules.nets.region_embedding import RegionEmbedding

    model = check_finds(restored, f"--examples {examples}")
    find = model.predict_image if model.shapes_examples else None
    return read_gallery(examples, RegionEmbedding(ENCODER), find)


def check_finds(restored: "Restored", asked: str) -> "SegmentationModule":
    """The model; ValueError, with what was asked of it, for one that finds no regions to name."""
    from lightning_modules.segmentation_module import SegmentationModule

    if not isinstance(restored.model, SegmentationModule):
        raise ValueError(
            f"{asked}: {type(restored.model).__name__} finds no regions to name: leave it out, or "
            "export a stage 2 or a baseline"
        )
    return restored.model


def parse_name(text: str) -> tuple[str, str]:
    """Name and alias of NAME@ALIAS; ValueError for anything else."""
    if not re.fullmatch(r"[\w. -]+@[\w-]+", text):
        raise ValueError(f"--register {text!r}: expected NAME@ALIAS, such as parts@champion")
    name, _, alias = text.rpartition("@")
    return name, alias


def check_same(trained: "Restored", released: "Restored") -> None:
    """ValueError unless a release, opened again, holds the very weights that went into it."""
    before, after = trained.model.state_dict(), released.model.state_dict()
    different = sorted(before.keys() ^ after.keys())
    different += [name for name in before if name in after and not before[name].equal(after[name])]
    if different:
        raise ValueError(
            f"the release does not give back {different[0]} as it was: expected equal weights; "
            "check that the disk is sound and export again"
        )


if __name__ == "__main__":
    run_command(export)
