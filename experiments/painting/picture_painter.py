"""A trained stage 1 at work: prompts to pictures, and good pictures to defective ones."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TypeVar

import numpy as np
import torch

from datamodules.formats.synthetic_mark import Origin
from datamodules.transforms import to_pixels, to_tensor
from experiments.painting.defect_painting import Window, join
from experiments.painting.generated_files import Painted
from experiments.painting.prompts import Prompt
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.inpainting import inpaint_images
from lightning_modules.nets.sampler import sample_images

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Job:
    """One defect to be painted into one picture.

    picture: (H, W, 3), or (H, W) grey, uint8; mask: (H, W) bool; window: what the U-Net sees;
    source_image, source_sha256: the picture's name and the hash of its file.
    """

    picture: np.ndarray
    mask: np.ndarray
    window: Window
    prompt: Prompt
    seed: int
    source_image: str
    source_sha256: str


@dataclass(frozen=True, slots=True)
class Painter:
    """A diffusion model, the hash of its checkpoint, and how it samples.

    Each picture depends on its own prompt and seed alone, up to rounding: not on its neighbours.
    """

    model: DiffusionModel
    checkpoint_sha256: str
    sampler: str
    steps: int
    guidance_scale: float
    batch_size: int

    def draw(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], *, side_px: int
    ) -> Iterator[Painted]:
        """A picture of side_px for each prompt and seed, prompt by prompt."""
        wanted = [(prompt, seed) for prompt in prompts for seed in seeds]
        for batch in in_batches(wanted, self.batch_size):
            texts = [self.fitted(prompt) for prompt, _ in batch]
            images = sample_images(
                self.model,
                texts,
                seeds=[seed for _, seed in batch],
                size_px=side_px,
                steps=self.steps,
                guidance_scale=self.guidance_scale,
                method=self.sampler,
            )
            for image, text, (prompt, seed) in zip(images, texts, batch, strict=True):
                origin = self.origin(text, seed)
                yield Painted(to_pixels(image), origin, prompt.types, prompt.caption)

    def paint(self, jobs: Iterable[Job]) -> Iterator[Painted]:
        """The pictures of the jobs with their defects, in order."""
        for _, alike in groupby(
            jobs, key=lambda job: (len(job.window.rows), len(job.window.columns))
        ):
            for batch in in_batches(alike, self.batch_size):
                yield from self._paint_batch(batch)

    def _paint_batch(self, jobs: Sequence[Job]) -> Iterator[Painted]:
        """The pictures of jobs whose windows have one size."""
        device = self.model.schedule.alpha_bar.device
        masks = [job.window.cut_mask(job.mask) for job in jobs]
        texts = [self.fitted(job.prompt.placed(m)) for job, m in zip(jobs, masks, strict=True)]
        images = torch.stack([to_tensor(job.window.cut(job.picture)) for job in jobs])
        painted = inpaint_images(
            self.model,
            images.to(device),
            torch.from_numpy(np.stack(masks)).to(device),
            texts,
            seeds=[job.seed for job in jobs],
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            method=self.sampler,
        )
        for job, image, text in zip(jobs, painted, texts, strict=True):
            yield finished(job, to_pixels(image), self.origin(text, job.seed))

    def fitted(self, prompt: Prompt) -> str:
        """The words as the text encoder reads them whole; ValueError for too much free text."""
        encoder = self.model.text_encoder
        return prompt.fitted(encoder.token_counter(), encoder.max_tokens)

    def origin(self, text: str, seed: int) -> Origin:
        """What is kept of how a picture came to be."""
        return Origin(
            text, seed, self.checkpoint_sha256, self.sampler, self.steps, self.guidance_scale
        )


def finished(job: Job, painted: np.ndarray, origin: Origin) -> Painted:
    """The job's whole picture with the painted window (h, w, 3) inside its mask.

    A grey picture stays grey. mean_change, in grey levels inside the mask, tells pictures in
    which next to nothing was painted: their mask says defect all the same.
    """
    source, mask = job.picture, job.mask
    if source.ndim == 2:
        painted = np.rint(painted.mean(axis=2)).astype(np.uint8)
    pixels = join(source, job.window.place(source, painted), mask)
    change = np.abs(pixels.astype(np.int16) - source)[mask].mean()
    facts = {
        "source_image": job.source_image,
        "source_sha256": job.source_sha256,
        "mean_change": round(float(change), 2),
    }
    told = job.prompt.placed(mask)
    return Painted(pixels, origin, told.types, told.caption, mask, source, facts)


def in_batches(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """The items in lists of batch_size, the last one shorter."""
    rest = iter(items)
    while batch := list(islice(rest, batch_size)):
        yield batch
