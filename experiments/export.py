"""`export`: a trained stage as a folder to give away: safetensors, configuration, card, hashes.

    python -m experiments.export --checkpoint RUN --out DIR
    python -m experiments.export --checkpoint RUN --out DIR --register parts@champion

The weights' files are `release.py`, the card is `model_card.py`.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli import check_is_free, run_command, whole_folder

if TYPE_CHECKING:
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
)


def export(
    *,
    checkpoint: Path,
    out: Path,
    examples: Path | None = None,
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
        licence: SPDX name of the weights' licence, for the card
        register: NAME@ALIAS: also a new version of this model in MLflow's registry, which
            `mlflow models serve -m models:/NAME@ALIAS --env-manager local` answers with
        output: the folder of the tracker that it is registered in
        overwrite: replace an earlier release in --out
    """
    check_is_free(out, entries=ENTRIES, overwrite=overwrite)
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
    gallery = gallery_of(examples, restored) if examples else None
    with whole_folder(out, entries=ENTRIES, overwrite=overwrite) as folder:
        reason = write_release(folder, restored)
        if gallery:
            gallery.save(folder / GALLERY)
        text = card_text(restored, reason=reason, licence=licence)
        (folder / "README.md").write_text(text, encoding="utf-8")
        write_manifest(folder)
        check_same(restored, load_any(folder))
    print(f"layout: single file ({reason})" if reason else "layout: diffusers pipeline")
    print(f"release: {out.resolve()}")
    if register:
        from experiments.registry import register as put

        number = put(out, name=name, alias=alias, output=output, run_directory=restored.directory)
        print(f"model: version {number} of {name}, now models:/{register}")


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
