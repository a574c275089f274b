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

from datamodules.sample import Batch
from lightning_modules.equations.diffusion import add_noise, noise_loss
from lightning_modules.equations.guidance import implicit_text_loss
from lightning_modules.nets.conditioning import IMPLICIT, NULL, TEXT, choose_conditions
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.sampler import sample_latents
from lightning_modules.nets.text_encoder import TextEmbedding
from lightning_modules.optimizers import adamw, schedule, total_steps, trainable, warm_up_cosine
from lightning_modules.saved_stage import STAMP, SavedStage, load_part, stamp


class DiffusionPretrain(LightningModule):
    """Diffusion pre-training of `diffusion` on images and captions, by Table 2.

    `null_probability` is taken evenly from text and implicit condition; 0 is the letter of the
    table (NOTES 3).
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
        self.image_size_px = 0  # of the pictures seen in training: from the data or a checkpoint

    def load(self) -> None:
        """Reads the weights of the frozen parts that name some."""
        self.diffusion.load()

    def setup(self, stage: str) -> None:
        """Notes the side of the images that training cuts out."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.image_size_px = int(data.train_transform.size_px)

    def restore(self, saved: SavedStage) -> None:
        """Fills the model with a checkpoint's weights, over the hub weights of frozen parts.

        Raises ValueError for another stage's weights or another shape's.
        """
        if saved.stage != "pretrain":
            raise ValueError(
                f"checkpoint {saved.file} holds the stage {saved.stage!r}, expected pretrain: "
                "name the directory of a stage-1 run"
            )
        self.load()
        load_part(self.diffusion, "diffusion.", saved)
        self.image_size_px = saved.image_size_px

    def measure(self, image: Tensor) -> None:
        """Fits the autoencoder's scale to training images (B, 3, H, W) in [-1, 1]."""
        self.diffusion.measure(image)

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The noise loss (eq. 12) and the implicit-text loss of a batch."""
        model, batch_size = self.diffusion, len(batch.image)
        z_0 = model.latents_of(batch)  # eq. 11
        t = torch.randint(1, model.schedule.diffusion_steps + 1, (batch_size,), device=self.device)
        eps = torch.randn_like(z_0)
        z_t = add_noise(z_0, eps, t, model.schedule.alpha_bar)  # eq. 2
        text = model.text_encoder(batch.captions)
        pseudo_caption = model.caption_of(batch)
        condition = choose_conditions(
            text, pseudo_caption, model.text_encoder([""]), self.draw_choice(batch_size)
        )
        eps_predicted = model.denoiser(z_t, t, condition.tokens, condition.mask)
        return noise_loss(eps_predicted, eps), implicit_text_loss(pseudo_caption, text.pooled)

    def draw_choice(self, batch_size: int) -> Tensor:
        """Per sample a random condition: text, implicit caption or null (Table 2)."""
        given = 1 - self.null_probability
        text_share = given * self.text_conditioning_probability
        draw = torch.rand(batch_size, device=self.device)
        choice = torch.where(draw < text_share, TEXT, IMPLICIT)
        return torch.where(draw >= given, NULL, choice)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """L = L_diff + 0.3 L_imp."""
        loss_diff, loss_imp = self.losses(batch)
        loss = self.loss_weight_diff * loss_diff + self.loss_weight_imp * loss_imp
        self._log("train", loss=loss, loss_diff=loss_diff, loss_imp=loss_imp)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same losses on validation images, with noise that is the same each time."""
        batch.image = crop_to_multiple(batch.image, self.diffusion.stride)
        with torch.random.fork_rng():
            torch.manual_seed(batch_idx)
            loss_diff, loss_imp = self.losses(batch)
        self._log("val", batch_size=len(batch.image), loss_diff=loss_diff, loss_imp=loss_imp)

    def _log(self, split: str, batch_size: int | None = None, **values: Tensor) -> None:
        named = {f"pretrain/{split}/{name}": value.detach() for name, value in values.items()}
        self.log_dict(named, batch_size=batch_size or 1, sync_dist=split == "val")

    @torch.no_grad()
    def generate(self, captions: Sequence[str], *, seed: int, steps: int = 50) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] that the captions describe, the same for the same seed.

        Their size is that of the images seen in training.
        """
        model = self.diffusion
        text = model.text_encoder(captions)
        side = self.image_size_px // model.autoencoder.stride
        generator = torch.Generator().manual_seed(seed)
        shape = (len(captions), model.autoencoder.latent_channels, side, side)
        noise = torch.randn(shape, generator=generator).to(self.device)
        null: TextEmbedding = model.text_encoder([""])
        latents = sample_latents(
            model.denoiser,
            model.schedule,
            noise=noise,
            text=text,
            null=null,
            steps=steps,
            guidance_scale=self.guidance_scale,
            generator=generator,
        )
        return model.autoencoder.decode(latents)

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
