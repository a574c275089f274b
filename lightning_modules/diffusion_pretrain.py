"""Stage 1: a U-Net learns to denoise latents of defect images under their captions.

The equations are in `equations/`, the boxes in `nets/diffusion_model.py`; this file is the
paper's paragraph about training and nothing else.
"""

from collections.abc import Sequence
from functools import partial

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import MeanMetric

from datamodules.sample import Batch
from lightning_modules.equations.diffusion import add_noise, noise_loss, noise_loss_by_sample
from lightning_modules.equations.guidance import implicit_text_loss
from lightning_modules.metrics.caption_retrieval import CaptionRetrieval
from lightning_modules.metrics.noise_by_timestep import NoiseLossByTimestep
from lightning_modules.nets.diffusion_model import (
    IMPLICIT,
    NULL,
    TEXT,
    DiffusionModel,
    choose_conditions,
)
from lightning_modules.nets.sampler import sample_images
from lightning_modules.nets.text_encoder import embed_with_null
from lightning_modules.optimizers import adamw, schedule, total_steps, trainable, warm_up_cosine
from lightning_modules.weights_io import STAMP, SavedStage, load_part, stamp

# Validation images whose captions are told apart: as many as stage1.yaml validates on.
GALLERY_SIZE = 2048


class DiffusionPretrain(LightningModule):
    """Diffusion pre-training of `diffusion` on images and captions, by Table 2.

    `null_probability` is taken evenly from text and implicit condition; 0 is the letter of the
    table (docs/paper.md, row 3).
    """

    def __init__(
        self,
        diffusion: DiffusionModel,
        base_learning_rate: float = 1e-4,
        weight_decay: float = 1e-4,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        warmup_steps: int = 5_000,
        warmup_start_learning_rate: float = 1e-6,
        final_learning_rate: float = 1e-6,
        loss_weight_diff: float = 1.0,
        loss_weight_imp: float = 0.3,
        text_conditioning_probability: float = 0.5,
        null_probability: float = 0.1,
        guidance_scale: float = 3.0,
    ) -> None:
        super().__init__()
        self.diffusion = diffusion
        self.base_learning_rate = base_learning_rate
        self.weight_decay = weight_decay
        self.adam_betas = adam_betas
        self.warmup_steps = warmup_steps
        self.warmup_start_learning_rate = warmup_start_learning_rate
        self.final_learning_rate = final_learning_rate
        self.loss_weight_diff = loss_weight_diff
        self.loss_weight_imp = loss_weight_imp
        self.text_conditioning_probability = text_conditioning_probability
        self.null_probability = null_probability
        self.guidance_scale = guidance_scale
        self.implicit_loss = MeanMetric()
        self.noise_by_timestep = NoiseLossByTimestep(diffusion.schedule.diffusion_steps)
        self.caption_retrieval = CaptionRetrieval(
            diffusion.text_encoder.width, gallery_size=GALLERY_SIZE
        )
        self.image_size_px = 0  # of the images seen in training: from the data or a checkpoint

    def load(self) -> None:
        """Reads the weights that the frozen parts name, and those that the denoiser starts from."""
        self.diffusion.load()
        self.diffusion.denoiser.load()

    def setup(self, stage: str) -> None:
        """Notes the side of the images in training, and fits the denoiser to the device."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.image_size_px = int(data.train_transform.size_px)
        self.diffusion.denoiser.speed_up(self.trainer.strategy.root_device)

    def restore(self, saved: SavedStage) -> None:
        """Fills the model with a checkpoint's weights, over the hub weights of frozen parts.

        Raises ValueError for another stage's weights or another shape's.
        """
        if saved.stage != "pretrain":
            raise ValueError(
                f"checkpoint {saved.file} holds the stage {saved.stage!r}, expected pretrain: "
                "name the directory of a stage-1 run"
            )
        self.diffusion.await_weights()
        load_part(self.diffusion, "diffusion.", saved)
        self.image_size_px = saved.image_size_px

    def measure(self, image: Tensor) -> None:
        """Fits the autoencoder's scale to training images (B, 3, H, W) in [-1, 1]."""
        self.diffusion.measure(image)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """L = L_diff + 0.3 L_imp."""
        model = self.diffusion
        z_0 = model.latents_of(batch)  # eq. 11
        t, choice, eps = self.draw(batch.seeds, z_0, times=(1, model.schedule.diffusion_steps))
        text, null = embed_with_null(model.text_encoder, batch.captions)
        pseudo_caption = model.caption_of(batch)
        condition = choose_conditions(text, pseudo_caption, null, choice)
        z_t = add_noise(z_0, eps, t, model.schedule.alpha_bar)  # eq. 2
        eps_predicted = model.denoiser(z_t, t, condition.tokens, condition.mask)
        loss_diff = noise_loss(eps_predicted, eps)  # eq. 12
        loss_imp = implicit_text_loss(pseudo_caption, text.pooled)
        loss = self.loss_weight_diff * loss_diff + self.loss_weight_imp * loss_imp
        parts = {"loss": loss, "loss_diff": loss_diff, "loss_imp": loss_imp}
        self.log_dict({f"pretrain/train/{name}": value.detach() for name, value in parts.items()})
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The losses of validation images at a time in each bin, on noise that is always the same.

        Also asks whether an image's pseudo-caption finds its caption among all others.
        """
        batch.image = crop_to_multiple(batch.image, self.diffusion.stride)
        model = self.diffusion
        z_0 = model.latents_of(batch)
        text, null = embed_with_null(model.text_encoder, batch.captions)
        pseudo_caption = model.caption_of(batch)
        ranges = self.noise_by_timestep.ranges
        for number, times in enumerate(ranges):
            seeds = [row * len(ranges) + number for row in batch.row.tolist()]
            t, choice, eps = self.draw(seeds, z_0, times=times)
            condition = choose_conditions(text, pseudo_caption, null, choice)
            z_t = add_noise(z_0, eps, t, model.schedule.alpha_bar)
            eps_predicted = model.denoiser(z_t, t, condition.tokens, condition.mask)
            self.noise_by_timestep.update(noise_loss_by_sample(eps_predicted, eps), t)
        self.caption_retrieval.update(pseudo_caption, text.pooled, batch.captions)
        self.implicit_loss.update(implicit_text_loss(pseudo_caption, text.pooled), len(z_0))

    def on_validation_epoch_end(self) -> None:
        """Logs the noise loss as a whole and by bins of time, and the retrieval."""
        for metric in (self.noise_by_timestep, self.caption_retrieval):
            values = metric.compute()
            self.log_dict({f"pretrain/val/{name}": value for name, value in values.items()})
            metric.reset()
        # Not `sync_dist`, which is wrong where processes had unequally many images.
        self.log("pretrain/val/loss_imp", self.implicit_loss.compute())
        self.implicit_loss.reset()

    def draw(
        self, seeds: Sequence[int], z_0: Tensor, *, times: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Per sample a time t (B,) in `times`, ends included, a condition (B,) and eps like z_0.

        They follow from each sample's own seed: whichever process draws them, on however many,
        before or after a resume, they are the same.
        """
        first, last = times
        generator = torch.Generator()
        share, eps = torch.empty(2, len(seeds)), torch.empty(z_0.shape)
        for place, seed in enumerate(seeds):
            generator.manual_seed(seed)
            share[:, place].uniform_(generator=generator)
            eps[place].normal_(generator=generator)
        t = first + (share[0] * (last + 1 - first)).long()
        drawn = [t, self.choice_of(share[1]), eps]
        if z_0.is_cuda:  # so that the GPU need not be waited for
            drawn = [part.pin_memory() for part in drawn]
        t, choice, eps = (part.to(z_0.device, non_blocking=True) for part in drawn)
        return t, choice, eps.to(z_0.dtype)

    def choice_of(self, share: Tensor) -> Tensor:
        """Text, implicit caption or null (Table 2) for uniform draws (B,) in [0, 1)."""
        given = 1 - self.null_probability
        choice = torch.where(share < given * self.text_conditioning_probability, TEXT, IMPLICIT)
        return torch.where(share >= given, NULL, choice)

    def generate(self, captions: Sequence[str], *, seed: int, steps: int = 50) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] that the captions describe, the k-th from `seed` + k.

        Their size is that of the images seen in training.
        """
        return sample_images(
            self.diffusion,
            captions,
            seeds=range(seed, seed + len(captions)),
            size_px=self.image_size_px,
            steps=steps,
            guidance_scale=self.guidance_scale,
        )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine decay (Table 2, section 5.5)."""
        groups = [{"params": list(trainable(self)), "weight_decay": self.weight_decay}]
        optimizer = adamw(groups, lr=self.base_learning_rate, betas=self.adam_betas)
        curve = partial(
            warm_up_cosine,
            warmup_steps=self.warmup_steps,
            total_steps=total_steps(self.trainer),
            start=self.warmup_start_learning_rate / self.base_learning_rate,
            floor=self.final_learning_rate / self.base_learning_rate,
        )
        return schedule(optimizer, curve)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Marks the checkpoint as ours and notes the vocabulary."""
        vocabulary = self.trainer.datamodule.vocabulary  # type: ignore[attr-defined]
        checkpoint[STAMP] = stamp("pretrain", vocabulary.entries, image_size_px=self.image_size_px)


def crop_to_multiple(image: Tensor, multiple_px: int) -> Tensor:
    """The middle of image (B, 3, H, W) whose sides are multiples; ValueError if it has none."""
    height, width = (side // multiple_px * multiple_px for side in image.shape[-2:])
    if not height or not width:
        raise ValueError(
            f"image is {image.shape[-2]} x {image.shape[-1]} px: expected at least {multiple_px} "
            "px a side, the coarsest stride of the U-Net"
        )
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]
