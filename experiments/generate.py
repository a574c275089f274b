"""`generate`: images of defects in words, and defects painted into good images.

    python -m experiments.generate --checkpoint RUN --prompt "Plate of steel with crack." --out DIR
    python -m experiments.generate --checkpoint RUN --defect pit --images GOOD --draw_masks --out D

DIR gets images/, masks/ where defects were painted in, generated.jsonl and grid.png; it is there
whole or not at all, and `--source generated` trains on it. The k-th image of each prompt and
input image has the seed `--seed` + k, so that any one can be made again alone.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import track

from experiments.cli import check_is_free, run_command, whole_folder

if TYPE_CHECKING:
    from experiments.inference.inputs import InputImage

ENTRIES = ("images", "masks", "generated.jsonl", "grid.png")


def generate(
    *,
    checkpoint: Path,
    out: Path,
    prompt: list[str] | None = None,
    prompts: str = "",
    defect: str | None = None,
    images: str = "",
    max_images: int | None = None,
    masks: str = "",
    draw_masks: bool = False,
    count: int = 1,
    seed: int = 0,
    steps: int = 50,
    sampler: Literal["ancestral", "ddim", "dpmpp"] = "ddim",
    guidance_scale: float | None = None,
    size_px: int | None = None,
    batch_size: int = 8,
    device: str = "",
    overwrite: bool = False,
) -> None:
    """Images of defects in words, and defects painted into good images, marked as generated.

    Args:
        checkpoint: a run of stage 1, or a .ckpt inside one
        out: a new folder for the images
        prompt: words; may be given again
        prompts: a text file, one prompt a line
        defect: the type that is painted, or "good"
        images: good images to paint into: a file, a folder, a manifest, ...
        max_images: of a manifest, chosen by --seed
        masks: folder of masks by the images' names
        draw_masks: draw a mask for each image and seed
        count: images of each prompt, and of each input image
        seed: of the first image; the next has one more
        steps: sampling steps
        sampler: how steps are taken
        guidance_scale: how strongly words count (default: the checkpoint's)
        size_px: side (default: that seen in training)
        batch_size: images at a time
        device: cpu, cuda, cuda:1 (default: the first GPU, else the CPU)
        overwrite: replace an earlier command's images in --out
    """
    numbers = {"count": count, "steps": steps, "batch_size": batch_size, "max_images": max_images}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"--{name} is {number}: expected 1 or more")
    if not 0 <= seed < 2**63 - count:
        raise ValueError(f"--seed is {seed}: expected 0 or more, in 63 bits")
    check_is_free(out, entries=ENTRIES, overwrite=overwrite)
    from datamodules.decode import sha256_of
    from experiments.checkpoints import default_device, load_pretrain, on_device
    from experiments.generation.generator import ImageGenerator, write_images
    from experiments.generation.jobs import list_jobs
    from experiments.generation.prompts import gather_prompts
    from experiments.inference.inputs import check_images_stay
    from lightning_modules.weights_io import find_checkpoint

    wanted = gather_prompts(prompt or [], prompts, defect, has_mask=bool(images))
    inputs, mask_files = find_inputs(images, max_images, masks, draw_masks=draw_masks, seed=seed)
    check_images_stay(inputs, out.resolve())
    file = find_checkpoint(checkpoint)
    stage = on_device(load_pretrain(file), device or default_device())
    generator = ImageGenerator(
        stage.diffusion,
        checkpoint_sha256=sha256_of(file),
        sampler=sampler,
        steps=steps,
        guidance_scale=stage.guidance_scale if guidance_scale is None else guidance_scale,
        batch_size=batch_size,
    )
    for one in wanted:
        generator.fitted(one)  # a text that is too long ends here, not after hours
    seeds, side_px = range(seed, seed + count), size_px or stage.image_size_px
    if images:
        stride_px = stage.diffusion.stride
        jobs = list_jobs(inputs, mask_files, wanted, seeds, side_px=side_px, stride_px=stride_px)
        generated = generator.paint(jobs)
    else:
        generated = generator.draw(wanted, seeds, side_px=side_px)
    total = count * len(wanted) * (len(inputs) if images else 1)
    console = Console(stderr=True)
    hidden = not console.is_terminal
    bar = track(generated, "generating", total, console=console, transient=True, disable=hidden)
    with whole_folder(out, entries=ENTRIES, overwrite=overwrite) as folder:
        write_images(bar, folder, checkpoint_sha256=generator.checkpoint_sha256)
    report(total, out.resolve(), generator.checkpoint_sha256)


def find_inputs(
    images: str, max_images: int | None, masks: str, *, draw_masks: bool, seed: int
) -> "tuple[list[InputImage], list[Path | None]]":
    """The images to paint into and the mask file of each, None where one is to be drawn.

    Both empty where images are drawn from words alone. ValueError or FileNotFoundError, one line,
    for options that do not go together.
    """
    from experiments.generation.jobs import good_images, match_masks

    has_masks = bool(masks) + draw_masks
    if not images and (has_masks or max_images is not None):
        raise ValueError(
            "--masks, --draw_masks and --max_images need --images: expected images to paint into"
        )
    if not images:
        return [], []
    if has_masks != 1:
        raise ValueError(
            f"--images comes with {has_masks} of --masks and --draw_masks: expected exactly one"
        )
    inputs = good_images(images, max_images, seed=seed)
    if draw_masks:
        return inputs, [None] * len(inputs)
    return inputs, [*match_masks(inputs, Path(masks).expanduser())]


def report(count: int, out: Path, sha256: str) -> None:
    """Prints what was made and how to train on it."""
    lines = (
        f"images      {count}, all marked as synthetic, in {out}",
        f"checkpoint  sha256 {sha256}",
        f"to train    python -m experiments.prepare --source generated --root {out} --out DATA",
    )
    for line in lines:
        Console().print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    run_command(generate)
