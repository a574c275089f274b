"""`generate`: pictures of defects in words, and defects painted into good pictures.

    python -m experiments.generate --checkpoint RUN --prompt "Plate of steel with crack." --out DIR
    python -m experiments.generate --checkpoint RUN --defect pit --images GOOD --draw_masks --out D

DIR gets images/, masks/ where defects were painted in, generated.jsonl and grid.png; it is there
whole or not at all, and `--source generated` trains on it. The k-th picture of each prompt and
image has the seed `--seed` + k, so that any one can be made again alone.
"""

from collections.abc import Iterable
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import track

from experiments.checkpoints import load_pretrain
from experiments.command import run_command
from experiments.devices import default_device, on_device
from experiments.inference.inputs import InputImage, check_images_stay, find_images
from experiments.output_folder import check_is_free, whole_folder
from experiments.painting.generated_files import ENTRIES, GeneratedFiles, Painted
from experiments.painting.good_pictures import SUFFIX, good_training_pictures
from experiments.painting.painting_jobs import Source, list_jobs, match_masks
from experiments.painting.picture_painter import Painter
from experiments.painting.prompts import Prompt, gather_prompts, refuse_without_defect
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.nets.sampler import METHODS, check_side, stepper_of, times_of
from lightning_modules.weights_io import find_checkpoint, sha256_of

STAGE_FOLDER = "pretrain"


def main(argv: list[str] | None = None) -> int:
    """Writes the pictures asked for, marked as generated; 0 when done."""
    settings = make_parser().parse_args(argv)
    check_numbers(settings)
    prompts = gather_prompts(settings.prompt, settings.prompts, settings.defect)
    sources = find_sources(settings, prompts)
    out = Path(settings.out).resolve()
    check_is_free(out, entries=ENTRIES, overwrite=settings.overwrite)
    check_images_stay([InputImage(source.name, source.image) for source in sources], out)
    file = checkpoint_file(Path(settings.checkpoint))
    sha256 = sha256_of(file)
    stage = open_stage(file, settings.device)
    painted = paint_all(settings, prompts, sources, stage=stage, sha256=sha256)
    total = settings.count * len(prompts) * max(1, len(sources))
    with whole_folder(out, entries=ENTRIES, overwrite=settings.overwrite) as folder:
        write_all(painted, folder, sha256=sha256, total=total)
    report(total, out, sha256)
    return 0


def make_parser() -> ArgumentParser:
    """The command line of generate."""
    parser = ArgumentParser(
        prog="python -m experiments.generate",
        description="Pictures of defects in words, and defects painted into good pictures.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--checkpoint", type=str, required=True, help="a run of stage 1, or a .ckpt inside one")
    add("--out", type=str, required=True, help="a new folder for the pictures")
    add("--prompt", type=str, action="append", default=[], help="words; may be given again")
    add("--prompts", type=str | None, default=None, help="a text file, one prompt a line")
    add("--defect", type=str | None, default=None, help='the type that is painted, or "good"')
    add(
        "--images",
        type=str | None,
        default=None,
        help="good pictures to paint into: a file, a manifest, ...",
    )
    add("--max_images", type=int | None, default=None, help="of a manifest, chosen by --seed")
    add("--masks", type=str | None, default=None, help="folder of masks by the pictures' names")
    add("--draw_masks", action="store_true", help="draw a mask for each picture and seed")
    add("--count", type=int, default=1, help="pictures of each prompt, and of each image")
    add("--seed", type=int, default=0, help="of the first picture; the next has one more")
    add("--steps", type=int, default=50, help="sampling steps")
    add("--sampler", type=str, default="ddim", help=", ".join(METHODS))
    add("--guidance_scale", type=float | None, default=None, help="default: the checkpoint's")
    add("--size_px", type=int | None, default=None, help="side; default: that seen in training")
    add("--batch_size", type=int, default=8, help="pictures at a time")
    add("--device", type=str, default=default_device(), help="cpu, cuda, cuda:1")
    add("--overwrite", action="store_true", help="replace an earlier command's pictures in --out")
    return parser


def check_numbers(settings: Namespace) -> None:
    """Nothing for numbers and a sampler that can be; ValueError, one line, for others."""
    for name in ("count", "steps", "batch_size"):
        if settings[name] < 1:
            raise ValueError(f"--{name} is {settings[name]}: expected 1 or more")
    if settings.max_images is not None and settings.max_images < 1:
        raise ValueError(f"--max_images is {settings.max_images}: expected 1 or more")
    if not 0 <= settings.seed < 2**63 - settings.count:
        raise ValueError(f"--seed is {settings.seed}: expected 0 or more, in 63 bits")
    stepper_of(settings.sampler)


def find_sources(settings: Namespace, prompts: list[Prompt]) -> list[Source]:
    """The pictures to paint into with their masks; none where pictures are drawn from nothing.

    ValueError or FileNotFoundError, one line, for options that do not go together.
    """
    has_masks = bool(settings.masks) + settings.draw_masks
    if settings.images is None:
        if has_masks or settings.max_images is not None:
            raise ValueError(
                "--masks, --draw_masks and --max_images need --images: expected pictures to paint"
            )
        return []
    if has_masks != 1:
        raise ValueError(
            f"--images comes with {has_masks} of --masks and --draw_masks: expected exactly one"
        )
    refuse_without_defect(prompts)
    masks = Path(settings.masks).expanduser() if settings.masks else None
    return match_masks(pictures_to_paint(settings), masks)


def pictures_to_paint(settings: Namespace) -> dict[str, Path]:
    """The pictures that --images means, by name; of a manifest the good ones of training."""
    path = Path(settings.images).expanduser()
    if path.suffix == SUFFIX:
        return good_training_pictures(path, settings.max_images, seed=settings.seed)
    if settings.max_images is not None:
        raise ValueError(
            f"--max_images {settings.max_images} comes with --images {settings.images}: expected "
            "it with a manifest.parquet alone; leave it out"
        )
    return {image.name: image.path for image in find_images(settings.images)}


def checkpoint_file(checkpoint: Path) -> Path:
    """The file of a stage 1, also of a run with two stages."""
    stage = checkpoint / STAGE_FOLDER
    return find_checkpoint(stage if stage.is_dir() else checkpoint)


def open_stage(file: Path, device: str) -> DiffusionPretrain:
    """The trained stage 1 on `device`; ValueError or FileNotFoundError, one line."""
    return on_device(load_pretrain(file), device)


def paint_all(
    settings: Namespace,
    prompts: list[Prompt],
    sources: list[Source],
    *,
    stage: DiffusionPretrain,
    sha256: str,
) -> Iterable[Painted]:
    """The pictures, each made when it is asked for; what cannot be made is refused at once."""
    model, given = stage.diffusion, settings.guidance_scale
    side_px = settings.size_px or stage.image_size_px
    check_side(model, side_px)
    times_of(model.schedule, settings.steps)
    painter = Painter(
        model,
        checkpoint_sha256=sha256,
        sampler=settings.sampler,
        steps=settings.steps,
        guidance_scale=stage.guidance_scale if given is None else given,
        batch_size=settings.batch_size,
    )
    for prompt in prompts:
        painter.fitted(prompt)
    seeds = range(settings.seed, settings.seed + settings.count)
    if not sources:
        return painter.draw(prompts, seeds, side_px=side_px)
    jobs = list_jobs(sources, prompts, seeds, side_px=side_px, stride_px=model.stride)
    return painter.paint(jobs)


def write_all(painted: Iterable[Painted], folder: Path, *, sha256: str, total: int) -> None:
    """Writes the pictures into the empty folder, with a bar on a terminal."""
    console, files = Console(stderr=True), GeneratedFiles(folder)
    for one in track(
        painted,
        description="painting",
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ):
        files.add(one)
    files.finish(sha256)


def report(count: int, out: Path, sha256: str) -> None:
    """Prints what was made and how to train on it."""
    lines = (
        f"pictures    {count}, all marked as synthetic, in {out}",
        f"checkpoint  sha256 {sha256}",
        f"to train    python -m experiments.prepare --source generated --root {out} --out DATA",
    )
    for line in lines:
        Console().print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    run_command(main)
