"""A trained stage as a folder to give away: safetensors, configuration, card, hashes.

    python -m experiments.export --checkpoint RUN --out DIR

What goes into it is in `release.py` and `model_card.py`.
"""

import logging
from pathlib import Path

import transformers
from jsonargparse import ArgumentParser
from rich.console import Console

from experiments.checkpoints import CONFIG_NAME, Restored, load_any
from experiments.command import run_command
from experiments.output_folder import check_is_free, whole_folder
from experiments.releasing.model_card import CARD_NAME, write_model_card
from experiments.releasing.release import (
    CAPTIONER_FOLDER,
    PIPELINE_FILE,
    SINGLE_FILE,
    write_release,
)
from experiments.thresholds import THRESHOLDS_NAME
from lightning_modules.weights_io import MANIFEST_NAME, RELEASE_NAME, write_manifest

# All that a release may hold at its top; with --overwrite a folder of nothing else is replaced.
ENTRIES = (
    CARD_NAME,
    CONFIG_NAME,
    MANIFEST_NAME,
    RELEASE_NAME,
    THRESHOLDS_NAME,
    PIPELINE_FILE,
    SINGLE_FILE,
    CAPTIONER_FOLDER,
    "scheduler",
    "text_encoder",
    "tokenizer",
    "unet",
    "vae",
)


def main(argv: list[str] | None = None) -> int:
    """Writes the release of the checkpoint, opens it again, and says what it is; 0 when done."""
    settings = make_parser().parse_args(argv)
    quieten_libraries()
    out = Path(settings.out).resolve()
    check_is_free(out, entries=ENTRIES, overwrite=settings.overwrite)
    restored = load_any(Path(settings.checkpoint))
    with whole_folder(out, entries=ENTRIES, overwrite=settings.overwrite) as folder:
        reason = write_release(folder, restored)
        write_model_card(folder, restored, reason=reason, licence=settings.licence)
        write_manifest(folder)
        check_same(restored, load_any(folder))
    layout = f"single file ({reason})" if reason else "diffusers pipeline"
    console = Console()
    console.print(f"layout: {layout}", soft_wrap=True, markup=False)
    console.print(f"release: {out}", soft_wrap=True, markup=False)
    return 0


def make_parser() -> ArgumentParser:
    """The command line of export."""
    parser = ArgumentParser(
        prog="python -m experiments.export",
        description="Write a trained stage as a release: safetensors, config, card, hashes.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--checkpoint", type=str, required=True, help="a run directory of one stage, or a .ckpt"
    )
    parser.add_argument("--out", type=str, required=True, help="a new folder for the release")
    parser.add_argument(
        "--licence", type=str, default="", help="SPDX name of the weights' licence, for the card"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier release in --out"
    )
    return parser


def check_same(trained: Restored, released: Restored) -> None:
    """ValueError unless a release, opened again, holds the very weights that went into it."""
    before, after = trained.model.state_dict(), released.model.state_dict()
    different = sorted(before.keys() ^ after.keys())
    different += [name for name in before if name in after and not before[name].equal(after[name])]
    if different:
        raise ValueError(
            f"the release does not give back {different[0]} as it was: expected equal weights; "
            "check that the disk is sound and export again"
        )


def quieten_libraries() -> None:
    """Keeps the libraries from telling how far they are with each file."""
    transformers.logging.disable_progress_bar()
    logging.getLogger("diffusers").setLevel(logging.ERROR)


if __name__ == "__main__":
    run_command(main)
