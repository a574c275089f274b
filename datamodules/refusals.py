"""Settings and data that the DataModule (`imdd.py`) does not take, each in one line."""

from collections.abc import Sequence

from datamodules.manifest import Manifest, Source


def leak_line(index: Manifest) -> str:
    """Why a manifest is not trained on, in one line."""
    if index.leaks < 0:
        found = "nobody has looked for alike pictures in its splits"
    else:
        found = f"{index.leaks} pairs of alike pictures are in different splits"
    return (
        f"manifest {index.path}: {found}; expected none: prepare it again with --copies drop, or "
        "set data.init_args.allow_leakage to true, which the run will record"
    )


def check_origin(source: Source | None, root: str, manifest: str) -> None:
    """Nothing for exactly one of source and manifest; ValueError otherwise."""
    if (source is None) == (not manifest):
        got = "neither" if source is None else "both"
        raise ValueError(
            f"the data has {got} of source and manifest, expected exactly one: name a source "
            "with its root, or a manifest that experiments.prepare wrote"
        )
    if source is not None and not root:
        raise ValueError(f"source {source.name} has no root: give the folder with its data")


def check_batch_sizes(*sizes: int) -> None:
    """Nothing for sizes of 1 or more; ValueError otherwise."""
    if min(sizes) < 1:
        raise ValueError(f"batch sizes are {' and '.join(map(str, sizes))}, expected 1 or more")


def check_shares(image_count: int, process_count: int) -> None:
    """Nothing where each process has an image to evaluate; the others would wait for ever else."""
    if image_count < process_count:
        raise ValueError(
            f"there are {image_count} images to evaluate for {process_count} processes, expected "
            "at least one each: raise the split's fraction or max_val_images, or use fewer "
            "processes"
        )


def check_unlabelled(use_unlabelled: bool, held_out_types: Sequence[str]) -> None:
    """ValueError where pictures would train of which nobody knows whether they show such a type."""
    if use_unlabelled and held_out_types:
        raise ValueError(
            f"use_unlabelled is true and held_out_types names {', '.join(held_out_types)}: "
            "unlabelled pictures may show them, set only one of both"
        )
