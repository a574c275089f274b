"""Words that training never heard: of these a region gets the one that says what it resembles.

Beside its weights a run keeps vectors of some training regions by name. What a region resembles
among them, and how near their names are to the new words, says more of it than a class head that
was trained on few names (docs/names.md).
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from datamodules.imdd import IMDDDataModule
from datamodules.sample import Instance, Prediction
from datamodules.vocabulary import Vocabulary, fill
from experiments.inference.examples import ENCODER, NewNames, embed_examples, shares_by_words
from lightning_modules.known_weights import is_fetched
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.gallery import INDEX, Gallery
from lightning_modules.nets.naming import embed_prompts, new_classes
from lightning_modules.nets.region_embedding import RegionEmbedding
from lightning_modules.nets.text_encoder import HashedTextEncoder

LOGGER = logging.getLogger(__name__)
SEEN_REGIONS = "seen_regions"  # a folder of a run or a release
SENTENCES = ("{}", "a photo of a {}", "a photo of a {} defect")
SHARPNESS = 5.0  # of cosines, as shares of the new words


@rank_zero_only
def keep_seen_regions(stage: LightningModule, data: IMDDDataModule, directory: Path) -> None:
    """Writes vectors of at most 20 training regions of each name beside a run's weights.

    Nothing where the words are hashes, which resemble nothing, and, said, without the encoder.
    """
    if not has_words(stage):
        return
    if not is_fetched(ENCODER):
        LOGGER.warning(
            "words that training never heard will be read without what regions resemble: for that "
            "python -m experiments.fetch --weights %s, before training",
            ENCODER,
        )
        return
    rows, index = data.training_dataset().rows, data.index
    records = [index[int(row)] for row in rows]
    embed = RegionEmbedding(ENCODER)
    vectors, _ = embed_examples(records, index.root, index.vocabulary, embed, views=1)
    if len(vectors) > 1:
        Gallery(embed.fingerprint, vectors).save(directory / SEEN_REGIONS)


def has_words(stage: LightningModule) -> bool:
    """Whether the stage's words mean something: one is nearer to another than to a third."""
    return isinstance(stage, MaskFinetune) and not isinstance(
        stage.features.diffusion.text_encoder, HashedTextEncoder
    )


def use_new_words(stage: LightningModule, checkpoint: Path) -> None:
    """Lets a stage name by resemblance too where that is kept beside its checkpoint.

    Not where the encoder is not fetched, which is said. Raises ValueError for a broken file.
    """
    folders = (checkpoint / SEEN_REGIONS, checkpoint.parent.parent / SEEN_REGIONS)
    kept = [folder for folder in folders if (folder / INDEX).is_file()]
    if not kept or not isinstance(stage, MaskFinetune):
        return
    if not is_fetched(ENCODER):
        LOGGER.warning(
            "words that training never heard are read without what regions resemble: for that "
            "python -m experiments.fetch --weights %s",
            ENCODER,
        )
        return
    embed = RegionEmbedding(ENCODER)
    seen = Gallery.load(kept[0], fingerprint=embed.fingerprint)
    stage.renaming = NewWords(stage, embed, seen).rename


class NewWords(NewNames):
    """Shares the vote for new words anew among them; what a region has of other names stays."""

    keeps_words = True

    def __init__(self, stage: MaskFinetune, embed: RegionEmbedding, seen: Gallery) -> None:
        """seen: training regions by name."""
        self.stage, self.embed, self.seen = stage, embed, seen

    @property
    def vocabulary(self) -> Vocabulary:
        """The stage's, which may be set anew at any time."""
        assert self.stage.vocabulary is not None
        return self.stage.vocabulary

    @property
    def new_ids(self) -> list[int]:
        """The classes none of whose words training heard."""
        assert self.stage.trained is not None
        return new_classes(self.vocabulary.entries, self.stage.trained.entries)

    def shares(self, image: Tensor, instances: Sequence[Instance]) -> Tensor:
        """How far each region is of each name, (R, K+1), rows sum to one and good has none."""
        shares, new_ids = shares_by_words(instances, len(self.vocabulary)), self.new_ids
        if instances:
            self.embed.to(self.stage.device)
            vectors = self.embed(image, [one.mask for one in instances])[:, 0]
            known = self.embed_names(self.seen.names)
            cosines = self.seen.resemble(vectors, known, self.embed_names(self._asked(new_ids)))
            own = shares[:, new_ids].sum(dim=1, keepdim=True)
            shares[:, new_ids] = own * (SHARPNESS * cosines).softmax(dim=1)
        return shares

    def rename(self, image: Tensor, found: Prediction) -> Prediction:
        """The prediction as it is where fewer than two words are new, or names do not compete.

        Without competition no other name of the list may move what a region has of one.
        """
        if len(self.new_ids) < 2 or not self.stage.score_rule.is_complete:
            return found
        with torch.autocast(self.stage.device.type, enabled=False):
            return super().rename(image, found)

    def _asked(self, ids: Sequence[int]) -> list[str]:
        return [self.vocabulary.names[k] for k in ids]

    def embed_names(self, names: Sequence[str]) -> Tensor:
        """Unit vectors (N, D_text) of names in the sentences."""
        return embed_prompts(self.stage.embed_texts, fill(SENTENCES, names)).cpu()
