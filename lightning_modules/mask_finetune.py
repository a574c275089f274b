"""Stage 2: frozen diffusion features become masks, and masks become words.

The diffusion model is stage 1's and does not move; pyramid, mask generator and class head learn.
"""

from collections.abc import Sequence

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from datamodules.sample import Batch
from datamodules.vocabulary import DEFECT_TEMPLATES, Vocabulary, fill
from lightning_modules.nets.class_head import ClassHead, answer_for_image, score_pixels
from lightning_modules.nets.clip_mask_pooling import ClipMaskPooling
from lightning_modules.nets.diffusion_features import DiffusionFeatures, FeatureStore
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.feature_pyramid import PAPERS, TIMM, FeaturePyramid
from lightning_modules.nets.mask_criterion import MaskCriterion
from lightning_modules.nets.mask_generator import MaskGenerator, MaskQueries
from lightning_modules.nets.naming import (
    draw_synonyms,
    embed_prompts,
    lend,
    naming_of,
    nearest_class,
    new_classes,
    unasked,
)
from lightning_modules.nets.text_encoder import TextEmbedding
from lightning_modules.optimizers import fine_tuning
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.supervision import supervision_of
from lightning_modules.weights_io import RANDOM, SavedStage, load_part, read_pretrained


class MaskFinetune(SegmentationModule):
    """Mask generator on frozen features of `diffusion`, by Table 3.

    `pretrained` is a stage-1 run directory or checkpoint, or the word `random` for features of an
    untrained U-Net; `context` is what that reads beside the latents, the image's own pseudo-caption
    (`implicit`) or no text (`none`). `pyramid` is the paper's `diffusion`, frozen features alone,
    the hybrid `diffusion+timm`, where a timm `encoder` trains beside them, at first random or as
    `weights` says (`known_weights.py`), or `timm`, the encoder alone; `stem` adds the image itself.
    `feature_cache_gb`: memory in which each process keeps the frozen features of training
    images, for data of a fixed number of `variants`. `loss_weight_point` also teaches the names of
    single points, which then have half a say in the maps (not the paper's). `naming` is `softmax`
    or `independent` (`nets/naming.py`) and may be set anew at any time; `clip` gives a second
    opinion at test.
    """

    stage = "mask"
    texts: Tensor
    text_class: Tensor
    lends_to: Tensor
    trained: Vocabulary | None = None  # what training heard
    scored: Vocabulary | None = None  # what is asked for, and the names that lend to it

    def __init__(
        self,
        diffusion: DiffusionModel,
        mask_generator: MaskGenerator,
        pretrained: str,
        base_learning_rate: float = 5e-5,
        weight_decay: float = 1e-4,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        lr_schedule_power: float = 0.9,
        warmup_steps: int = 500,
        feature_timestep: int = 50,
        feature_mode: str = "single",
        context: str = "implicit",
        loss_weight_mask: float = 1.0,
        loss_weight_cls: float = 0.5,
        loss_weight_point: float = 0.0,
        good_weight: float = 0.1,
        point_count: int = 12_544,
        supervision: str = "labels",
        taps: str = "unet",
        pyramid: str = PAPERS,
        stem: bool = False,
        encoder: str = "",
        weights: str = "",
        feature_cache_gb: float = 0.0,
        naming: str = "softmax",
        prompt_templates: tuple[str, ...] = DEFECT_TEMPLATES,
        clip: ClipMaskPooling | None = None,
        tile_px: int = 512,
        tile_overlap_px: int = 128,
        tile_batch_size: int = 16,
    ) -> None:
        super().__init__(tile_px, tile_overlap_px, tile_batch_size, stride=diffusion.stride)
        self.pretrained, self.weight_decay, self.adam_betas = pretrained, weight_decay, adam_betas
        self.base_learning_rate, self.warmup_steps = base_learning_rate, warmup_steps
        self.lr_schedule_power, self.loss_weight_mask = lr_schedule_power, loss_weight_mask
        self.loss_weight_cls, self.loss_weight_point = loss_weight_cls, loss_weight_point
        self.criterion = MaskCriterion(
            point_count=point_count, good_weight=good_weight, name_weight=loss_weight_cls
        )
        self.supervision_kind, self.supervise = supervision, supervision_of(supervision)
        self.features = DiffusionFeatures(diffusion, feature_timestep, taps, feature_mode, context)
        limit_bytes = 0 if pyramid == TIMM else int(feature_cache_gb * 1e9)
        self.feature_store = FeatureStore(self.take_features, limit_bytes)
        self.mask_generator = mask_generator
        self.pyramid = self.build_pyramid(pyramid, stem, encoder, weights)
        self.class_head = ClassHead(mask_generator.width, diffusion.text_encoder.width)
        self.naming, self.prompt_templates, self.clip = naming, prompt_templates, clip
        for name in ("texts", "text_class", "lends_to"):
            self.register_buffer(name, torch.zeros(0), persistent=False)

    def build_pyramid(self, kind: str, stem: bool, encoder: str, weights: str) -> FeaturePyramid:
        """The pyramid from the features that there are to the strides that masks are made at."""
        if kind == TIMM and self.pretrained != RANDOM:
            raise ValueError(
                f"pretrained is {self.pretrained}, but pyramid {TIMM!r} has no diffusion features: "
                f"set pretrained: {RANDOM}, or pyramid: diffusion+timm"
            )
        return FeaturePyramid(
            tap_channels=self.features.channels,
            tap_strides=self.features.strides,
            width=self.mask_generator.width,
            strides=self.mask_generator.strides,
            kind=kind,
            stem=stem,
            encoder=encoder,
            weights=weights,
        )

    @property
    def naming(self) -> str:
        """What a name's score is; ValueError for a word that `nets/naming.py` does not know."""
        return self._naming

    @naming.setter
    def naming(self, word: str) -> None:
        self._naming, self.score_rule = word, naming_of(word)
        if self.vocabulary:
            self.set_vocabulary(self.vocabulary)

    def tags(self) -> dict[str, str]:
        """What the pyramid is made of, and where its frozen features come from."""
        return {
            **self.pyramid.tags(),
            "pretrained": self.pretrained,
            "supervision": self.supervision_kind,
            "context": self.features.context,
            "naming": self.naming,
            "clip": self.clip.pretrained if self.clip else "none",
        }

    def load(self) -> None:
        """Reads hub weights of the frozen parts, then stage 1's EMA weights over them."""
        diffusion = self.features.diffusion
        diffusion.load()
        if self.pretrained != RANDOM:
            load_part(diffusion, "diffusion.", read_pretrained(self.pretrained))
        if self.pyramid.encoder:
            self.pyramid.encoder.load()
        if self.clip:
            self.clip.load()

    def store_frozen_in(self, dtype: torch.dtype) -> None:
        """Keeps the weights of the frozen nets in `dtype`, for prediction under autocast alone.

        What trains stays in 32 bits, and so does the text tower, which speaks once a list of names.
        """
        frozen = self.features.diffusion
        for part in (frozen.denoiser, frozen.autoencoder, frozen.image_encoder, frozen.captioner):
            part.to(dtype)

    def setup(self, stage: str) -> None:
        """Fits the U-Net to the device; ValueError for a cache of images that come only once."""
        self.features.diffusion.denoiser.speed_up(self.trainer.strategy.root_device)
        if stage == "fit" and self.feature_store.limit_bytes:
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            if data.train_transform.variants is None:
                raise ValueError(
                    "feature_cache_gb keeps features of images that come again, but the crops "
                    "are new at each turn: set data.init_args.train_transform.init_args.variants"
                )

    def measure(self, image: Tensor) -> None:
        """Fits the scale of an autoencoder that no stage 1 has fitted; image in [-1, 1]."""
        if self.pretrained == RANDOM:
            self.features.diffusion.measure(image)

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Names masks from this list from now on; nothing is trained or rebuilt.

        Where a complete list has words that training never heard, the names that training knew and
        that are not asked for are scored too, and each lends its score to the nearest new word:
        alone a new word finds next to nothing (docs/names.md).
        """
        super().set_vocabulary(vocabulary)
        entries, trained = vocabulary.entries, (self.trained or vocabulary).entries
        new = new_classes(entries, trained)
        lends = new and self.score_rule.is_complete
        lenders = unasked(entries, vocabulary.negatives, trained) if lends else []
        self.scored = Vocabulary((*entries, *lenders), vocabulary.negatives)
        owned = self.scored.owned_prompts(self.prompt_templates)
        prompts = [texts for _, texts in owned]
        self.texts = embed_prompts(self.embed_texts, prompts).to(self.device)
        self.text_class = torch.tensor([class_id for class_id, _ in owned], device=self.device)
        own = range(len(vocabulary), len(self.scored))
        nearest = nearest_class(self.texts, self.text_class, of=own, among=new)
        self.lends_to = nearest.to(self.device)
        if self.clip:
            self.clip.set_prompts(prompts)

    def embed_phrases(self, phrases: Sequence[str]) -> Tensor:
        """Unit vectors (N, D_text) of phrases that captions name defects by, in its prompts."""
        return embed_prompts(self.embed_texts, fill(self.prompt_templates, phrases))

    def embed_texts(self, texts: list[str]) -> Tensor:
        """Pooled embeddings (N, D_text) by the frozen text encoder."""
        embedding: TextEmbedding = self.features.diffusion.text_encoder(texts)
        return embedding.pooled.float()

    def restore(self, saved: SavedStage) -> None:
        """Fills the model with what a checkpoint saved, over the hub weights of frozen parts."""
        self.features.diffusion.await_weights()
        if self.clip:
            self.clip.load()
            self.clip.seen_words = Vocabulary(saved.entries).words
        self.trained = Vocabulary(saved.entries)
        super().restore(saved)

    def on_fit_start(self) -> None:
        """The names of this moment are those that training knows: CLIP has less to say there."""
        self.trained = self.vocabulary
        if self.clip and self.vocabulary:
            self.clip.seen_words = self.vocabulary.words

    def forward(self, image: Tensor) -> tuple[MaskQueries, Tensor]:
        """Mask queries and class logits (S, B, Q, K+1) of image (B, 3, H, W) in [-1, 1]."""
        outputs = self.find_masks(image)
        return outputs, self.name_masks(outputs)

    def find_masks(self, image: Tensor, frozen_maps: list[Tensor] | None = None) -> MaskQueries:
        """Mask queries of image (B, 3, H, W) in [-1, 1], which no list of names has a part in.

        frozen_maps: what `features` says of the image, where it is known already.
        """
        pyramid = self.pyramid(image, frozen_maps or self.take_features(image))
        outputs: MaskQueries = self.mask_generator(pyramid)
        return outputs

    def take_features(self, image: Tensor) -> list[Tensor]:
        """The frozen maps of image (B, 3, H, W); none where the pyramid reads none."""
        return [] if self.pyramid.kind == TIMM else self.features(image)

    def name_masks(self, outputs: MaskQueries, synonym_mask: Tensor | None = None) -> Tensor:
        """Class logits (S, B, Q, K+1) of mask queries, those of names that lend last.

        synonym_mask: (B, N) bool, the texts that name each image, None for all.
        """
        assert self.scored is not None
        class_count = len(self.scored)
        logits: Tensor = self.class_head(
            outputs, self.texts, self.text_class, class_count, synonym_mask
        )
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """L = L_mask + 0.5 L_cls, or L_mask + 0.5 L_ground, on all prediction sets."""
        frozen_maps = self.feature_store(batch.image, batch.variant_ids)
        outputs = self.find_masks(batch.image, frozen_maps)
        logits = self.name_masks(outputs, draw_synonyms(batch.seeds, self.text_class))
        points = self.criterion.draw_points(batch.seeds, self.device)
        losses = self.supervise(self, outputs, logits, batch, points)
        loss = self.loss_weight_mask * losses.of_masks + self.loss_weight_cls * losses.of_names
        loss = loss + self.loss_weight_point * losses.of_points
        parts = {f"loss_{name}": value for name, value in losses.parts().items()}
        logged = {f"mask/train/{name}": value for name, value in parts.items()}
        logged["mask/train/loss"] = loss.detach()
        self.log_dict(logged, batch_size=len(batch.image))
        return loss

    def name_cells(self, outputs: MaskQueries, *, side_px: int) -> Tensor:
        """Score of each type by the mask features alone, cell by cell, (B, K, s, s) in [0, 1].

        A second opinion where training taught the names of points (`loss_weight_point`), at the
        price of one pass of the class head: queries say what belongs together, cells where it ends.
        """
        assert self.scored is not None
        features = outputs.mask_features
        logits = self.class_head.name_features(
            features.flatten(2).mT, self.texts, self.text_class, len(self.scored)
        )
        names = lend(self.score_rule.score_names(logits.float()), self.lends_to - 1, "amax")
        scores = names.mT.unflatten(-1, features.shape[-2:])
        size = (side_px, side_px)
        return functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Type maps (T, K, s, s) in [0, 1] and answers (T, K+1) of tiles (T, 3, s, s)."""
        outputs = self.find_masks(tiles).last()
        logits = self.name_masks(outputs)[-1].float()
        if self.clip and self.scored:
            words = self.scored.entries
            seen = self.clip.name_masks(tiles, outputs.masks[-1], self.text_class, len(words))
            logits = self.score_rule.join(logits, seen, self.clip.weights_of(words[1:]))
        names = lend(self.score_rule.score_names(logits), self.lends_to - 1, "amax")
        maps = score_pixels(outputs.masks[-1].float(), names, side_px=tiles.shape[-1])
        if self.loss_weight_point:
            maps = (maps + self.name_cells(outputs, side_px=tiles.shape[-1])) / 2
        answer = self.score_rule.score_types(answer_for_image(logits))
        return maps, lend(answer, self.lends_to, "sum")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and polynomial decay; norms, biases and embeddings do not decay."""
        return fine_tuning(
            self,
            lr=self.base_learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
            betas=self.adam_betas,
            power=self.lr_schedule_power,
        )
