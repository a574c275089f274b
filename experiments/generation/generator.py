"""A trained stage 1 at work: prompts to images, good images to defective ones, and their files.

The marks in the files are `datamodules/formats/synthetic_mark.py`; `datamodules/sources/
generated.py` reads the folder to train on it.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby, islice, product
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np
import torch
from PIL import Image

from callbacks.drawing import (
    Panel,
    draw_grid,
    draw_overlay,
    join_side_by_side,
    resize_image,
    scale_to_fit,
)
from datamodules.formats.synthetic_mark import Origin, marked_text, origin_text
from datamodules.sources.generated import TABLE
from datamodules.transforms import to_pixels, to_tensor
from experiments.generation.jobs import Job
from experiments.generation.prompts import Prompt
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.inpainting import inpaint_images
from lightning_modules.nets.sampler import sample_images

Item = TypeVar("Item")
GRID_IMAGES, GRID_COLUMNS, GRID_SIDE_PX = 48, 4, 224


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated image and its origin.

    pixels: (H, W, 3), or (H, W) grey, uint8; prompt: with the place of the defect in the whole
    image; job: what it was painted into, None for one that was drawn from words alone.
    """

    pixels: np.ndarray
    origin: Origin
    prompt: Prompt
    job: Job | None = None


class Sampling(TypedDict):
    """How images are sampled; method: "ancestral", "ddim" or "dpmpp"."""

    method: str
    steps: int
    guidance_scale: float


@dataclass(frozen=True, slots=True)
class ImageGenerator:
    """A diffusion model, the hash of its checkpoint, and how it samples.

    Each image depends on its own prompt and seed alone, up to rounding: not on its neighbours.
    """

    model: DiffusionModel
    checkpoint_sha256: str
    sampling: Sampling
    batch_size: int

    def draw(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], *, side_px: int
    ) -> Iterator[Generated]:
        """An image of side_px for each prompt and seed, prompt by prompt."""
        sample = partial(sample_images, self.model, size_px=side_px, **self.sampling)
        for batch in in_batches(product(prompts, seeds), self.batch_size):
            texts = [self.fitted(prompt) for prompt, _ in batch]
            images = sample(texts, seeds=[seed for _, seed in batch])
            for image, text, (prompt, seed) in zip(images, texts, batch, strict=True):
                yield Generated(to_pixels(image), self.origin(text, seed), prompt)

    def paint(self, jobs: Iterable[Job]) -> Iterator[Generated]:
        """The images of the jobs with their defects, in order; a grey image stays grey."""
        device = self.model.schedule.alpha_bar.device
        for _, alike in groupby(jobs, lambda job: (len(job.window.rows), len(job.window.columns))):
            for batch in in_batches(alike, self.batch_size):
                masks = [job.window.cut_mask(job.mask) for job in batch]
                prompts = [job.prompt.placed(mask) for job, mask in zip(batch, masks, strict=True)]
                texts = [self.fitted(prompt) for prompt in prompts]
                images = inpaint_images(
                    self.model,
                    torch.stack([to_tensor(job.window.cut(job.image)) for job in batch]).to(device),
                    torch.from_numpy(np.stack(masks)).to(device),
                    texts,
                    seeds=[job.seed for job in batch],
                    **self.sampling,
                )
                for job, image, text in zip(batch, images, texts, strict=True):
                    origin, prompt = self.origin(text, job.seed), job.prompt.placed(job.mask)
                    yield Generated(job.join(to_pixels(image)), origin, prompt, job)

    def fitted(self, prompt: Prompt) -> str:
        """The words as the text encoder reads them whole; ValueError for too much free text."""
        encoder = self.model.text_encoder
        return prompt.fitted(encoder.token_counter(), encoder.max_tokens)

    def origin(self, text: str, seed: int) -> Origin:
        """What is kept of how an image came to be."""
        how = self.sampling
        return Origin(
            text,
            seed,
            self.checkpoint_sha256,
            how["method"],
            how["steps"],
            how["guidance_scale"],
        )


def in_batches(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """The items in lists of batch_size, the last one shorter."""
    rest = iter(items)
    while batch := list(islice(rest, batch_size)):
        yield batch


def write_images(generated: Iterable[Generated], folder: Path, *, checkpoint_sha256: str) -> None:
    """Marked PNGs, their masks, one line of JSON for each, and a grid, in the empty folder."""
    (folder / "images").mkdir()
    panels: list[Panel] = []
    with (folder / TABLE).open("w", encoding="utf-8") as table:
        for count, one in enumerate(generated):
            name, text = f"{count:06}.png", origin_text(one.origin)
            Image.fromarray(one.pixels).save(folder / "images" / name, pnginfo=text)
            if one.job is not None:
                (folder / "masks").mkdir(exist_ok=True)
                mask = Image.fromarray(one.job.mask.astype(np.uint8) * 255)
                mask.save(folder / "masks" / name, pnginfo=text)
            table.write(json.dumps(table_line(one, name), ensure_ascii=False) + "\n")
            if count < GRID_IMAGES:
                panels.append(panel_of(one))
    columns = min(GRID_COLUMNS, max(1, round(len(panels) ** 0.5)))
    title = f"synthetic, checkpoint {checkpoint_sha256[:12]}"
    text = marked_text({"checkpoint_sha256": checkpoint_sha256})
    grid = Image.fromarray(draw_grid(panels, columns=columns, title=title))
    grid.save(folder / "grid.png", pnginfo=text)


def table_line(one: Generated, name: str) -> dict[str, object]:
    """The line of JSON of an image.

    mean_change, in grey levels inside the mask, tells images in which next to nothing was
    painted: their mask says defect all the same.
    """
    caption = one.prompt.caption
    line = {
        "image": f"images/{name}",
        "mask": "" if one.job is None else f"masks/{name}",
        "defect": one.prompt.types,
        "caption": None if caption is None else asdict(caption),
        **asdict(one.origin),
    }
    if one.job is not None:
        change = np.abs(one.pixels.astype(np.int16) - one.job.image)[one.job.mask].mean()
        line["source_image"] = one.job.source_image
        line["source_sha256"] = one.job.source_sha256
        line["mean_change"] = round(float(change), 2)
    return line


def panel_of(one: Generated) -> Panel:
    """The image over its prompt and seed; beside its source and its mask where it has them."""
    images = [in_colour(one.pixels)]
    if one.job is not None:
        overlay = draw_overlay(images[0], one.job.mask.astype(np.int64), ())
        images = [in_colour(one.job.image), images[0], overlay]
    scaled = [resize_image(image, scale_to_fit(image, GRID_SIDE_PX)) for image in images]
    return Panel(join_side_by_side(scaled), f"{one.origin.prompt} ({one.origin.seed})")


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) pixels of an image that may be grey (H, W)."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
