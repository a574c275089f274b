"""`generate`: images of defects in words, and defects painted into good images.

    python -m experiments.generate --checkpoint RUN --prompt "Plate of steel with crack." --out DIR
    python -m experiments.generate --checkpoint RUN --defect pit --images GOOD --draw_masks --out D

DIR gets images/, masks/ where defects were painted in, generated.jsonl and grid.png; it is there
whole or not at all, and `--source generated` trains on it. The k-th image of each prompt and
input image has the seed `--seed` + k, so that any one can be made again alone.
"""

import shlex
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import track

from experiments.cli import check_is_free, run_command, whole_folder

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
    from experiments.generation.jobs import find_inputs, list_jobs
    from experiments.generation.prompts import gather_prompts
    from experiments.inference.inputs import check_images_stay
    from lightning_modules.weights_io import find_checkpoint

    wanted = gather_prompts(prompt or [], prompts, defect, has_mask=bool(images))
    inputs = find_inputs(images, max_images, masks, draw_masks=draw_masks, seed=seed)
    check_images_stay([image for image, _ in inputs], out.resolve())
    file = find_checkpoint(checkpoint)
    stage = on_device(load_pretrain(file), device or default_device())
    generator = ImageGenerator(
        stage.diffusion,
        checkpoint_sha256=sha256_of(file),
        sampling={
            "method": sampler,
            "steps": steps,
            "guidance_scale": stage.guidance_scale if guidance_scale is None else guidance_scale,
        },
        batch_size=batch_size,
    )
    for one in wanted:
        generator.fitted(one)  # a text that is too long ends here, not after hours
    seeds, side_px = range(seed, seed + count), size_px or stage.image_size_px
    if images:
        stride_px = stage.diffusion.stride
        generated = generator.paint(
            list_jobs(inputs, wanted, seeds, side_px=side_px, stride_px=stride_px)
        )
    else:
        generated = generator.draw(wanted, seeds, side_px=side_px)
    total = count * len(wanted) * (len(inputs) if images else 1)
    console = Console(stderr=True)
    hidden = not console.is_terminal
    bar = track(generated, "generating", total, console=console, transient=True, disable=hidden)
    with whole_folder(out, entries=ENTRIES, overwrite=overwrite) as folder:
        write_images(bar, folder, checkpoint_sha256=generator.checkpoint_sha256)
    print(f"images      {total}, all marked as synthetic, in {out.resolve()}")
    place = shlex.quote(str(out))
    print(f"to train    python -m experiments.prepare --source generated --root {place} --out DATA")


if __name__ == "__main__":
    run_command(generate)
