"""What stage 2 learns names from: the classes of masks, or nothing but captions (L_ground).

Masks are learned alike by both; the losses themselves are in `nets/mask_criterion.py` and
`equations/grounding.py`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import cycle, islice
from typing import Protocol

import torch
from torch import Tensor

from datamodules.language.noun_phrases import NounPhrases, Phrases
from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.equations.grounding import grounding_loss, pair_scores, phrase_scores, unsaid
from lightning_modules.equations.mask_losses import UNKNOWN, class_loss, dice_loss
from lightning_modules.equations.matching import sample_points
from lightning_modules.nets.class_head import ClassHead
from lightning_modules.nets.mask_criterion import (
    MaskCriterion,
    MaskLosses,
    MaskTargets,
    collect_targets,
    gather,
    mean_over_ranks,
    own_rows,
)
from lightning_modules.nets.mask_generator import MaskQueries
from lightning_modules.nets.naming import draw_synonyms

PHRASES_PER_CAPTION = 8
KEPT_PHRASES = 10_000
EMPTY_MASK_LOGIT = -100.0


class Namer(Protocol):
    """What a supervision needs of stage 2."""

    criterion: MaskCriterion
    class_head: ClassHead
    vocabulary: Vocabulary | None
    texts: Tensor
    text_class: Tensor
    loss_weight_point: float

    def embed_phrases(self, phrases: Sequence[str]) -> Tensor:
        """Text embeddings of phrases, (N, D_text), of unit length and without gradient."""


# (stage, outputs, logits (S, B, Q, K+1), batch, the criterion's points) -> the batch's losses.
Supervision = Callable[[Namer, MaskQueries, Tensor, Batch, Tensor], MaskLosses]


def supervision_of(word: str) -> Supervision:
    """The supervision of a config's word; ValueError for another word."""
    if word == "labels":
        return learn_from_labels
    if word not in ("captions", "captions_ungrounded"):
        raise ValueError(
            f"supervision is {word!r}: expected one of labels, captions, captions_ungrounded"
        )
    return CaptionSupervision(grounds=word == "captions")


def learn_from_labels(
    stage: Namer, outputs: MaskQueries, logits: Tensor, batch: Batch, points: Tensor
) -> MaskLosses:
    """L_mask and L_cls: masks are named by their classes; names of points where they weigh."""
    assert stage.vocabulary is not None
    targets = collect_targets(batch)
    losses = compare(stage.criterion, outputs.masks, logits, targets, points)
    if stage.loss_weight_point:
        some = points[:, : stage.criterion.point_count]
        features = sample_points(outputs.mask_features.float(), some).transpose(1, 2)
        names = stage.class_head.name_features(
            features,
            stage.texts,
            stage.text_class,
            len(stage.vocabulary),
            draw_synonyms(batch.seeds, stage.text_class),
        )
        losses.point = point_loss(names.float(), targets, some)
    return losses


def point_loss(logits: Tensor, targets: MaskTargets, points: Tensor) -> Tensor:
    """Cross-entropy and dice of names at points, in images whose defects are drawn.

    Departs from the paper, which has no such loss (`loss_weight_point` is 0 there): of all queries
    one or two are matched in an image, so that each teaches little; a U-Net learns from each
    pixel. A box counts as filled here: what lies in it may be defect, what lies outside is not.
    logits: (B, P, K+1) at points (B, P, 2) in [0, 1], as float32.
    """
    is_known = targets.is_drawn[:, None]
    inside = sample_points(targets.masks, points) > 0.5
    names = torch.where(is_known, (inside * targets.classes[..., None]).sum(1), UNKNOWN)
    is_compared = (targets.is_real & is_known)[..., None]
    counts = torch.stack([(names != UNKNOWN).sum(), is_compared.sum()]).float()
    point_total, mask_total = mean_over_ranks(counts)
    # What is not compared is empty on both sides, and so without loss.
    margins = torch.where(is_compared, margins_of(logits, targets.classes), EMPTY_MASK_LOGIT)
    truth = (inside & is_compared).float()
    dice = dice_loss(margins.flatten(0, 1), truth.flatten(0, 1), mask_total)
    return class_loss(logits.flatten(0, 1), names.flatten(), 1.0, point_total) + dice


def margins_of(logits: Tensor, classes: Tensor) -> Tensor:
    """How far a class stands above all others together, (B, N, P): the logit of its share.

    logits: (B, P, K+1); classes: (B, N) ids.
    """
    chosen = classes[:, :, None, None].expand(-1, -1, logits.shape[1], 1)
    each = logits[:, None].expand(-1, classes.shape[1], -1, -1)
    others = each.scatter(-1, chosen, -torch.inf).logsumexp(-1)
    return each.gather(-1, chosen)[..., 0] - others


@dataclass(slots=True)
class Words:
    """P phrases of each caption: vectors (J, P, D) as the class head projects them; ids (J, P)
    int64, 0 where nothing is said; is_defect (J, P) bool, whether a phrase names a defect.
    """

    vectors: Tensor
    ids: Tensor
    is_defect: Tensor

    def of_all_ranks(self) -> "Words":
        """Those of all processes, with gradient to each."""
        ids, is_defect = gather(torch.stack([self.ids, self.is_defect.long()], dim=1)).unbind(1)
        return Words(gather(self.vectors), ids, is_defect > 0)


class CaptionSupervision:
    """Masks are objects of unknown type; what they show is found out from the phrases of captions.

    A query is an object as far as it resembles a phrase of its caption that names a defect, and in
    an image of which none is told, any such phrase of the batch: so names are weighed against
    class 0 in training as they are at test. Departs from ODISE, whose second head for objects
    says nothing of names. grounds: whether L_ground is added to that.
    """

    def __init__(self, *, grounds: bool = True) -> None:
        self.grounds = grounds
        self._vectors: dict[str, Tensor] = {}

    def __call__(
        self, stage: Namer, outputs: MaskQueries, logits: Tensor, batch: Batch, points: Tensor
    ) -> MaskLosses:
        """L_mask and L_ground, and objects against class 0 in the place of L_cls."""
        assert stage.vocabulary is not None
        finder = phrases_by(stage.vocabulary)
        phrases = [finder.of(caption) for caption in batch.captions]
        own = self.words(stage, phrases, batch)
        words = own.of_all_ranks()
        queries = stage.class_head.embed_queries(outputs)
        with torch.autocast(logits.device.type, enabled=False):
            matches = torch.einsum("sbqd,jpd->sbqjp", queries.float(), words.vectors.float())
            similarity = matches * stage.class_head.scale
            targets = collect_targets(batch).as_objects(own.is_defect.any(1))
            answers = objects_or_void(logits[..., 0].float(), similarity, words, targets)
            losses = compare(stage.criterion, outputs.masks, answers, targets, points)
            if self.grounds:
                losses.ground = ground(similarity, words, said=ids_of(phrases, batch.mask.device))
        return losses

    def words(self, stage: Namer, phrases: list[Phrases], batch: Batch) -> Words:
        """Some phrases of each caption, drawn by the sample's own seed."""
        sampled = [
            sample_phrases(each, seed) for each, seed in zip(phrases, batch.seeds, strict=True)
        ]
        if len(self._vectors) > KEPT_PHRASES:
            self._vectors.clear()
        new = sorted({phrase for row in sampled for phrase in row} - self._vectors.keys())
        if new:
            self._vectors |= zip(new, stage.embed_phrases(new), strict=True)
        texts = torch.stack([torch.stack([self._vectors[one] for one in row]) for row in sampled])
        ids = [[phrase_id(phrase) for phrase in row] for row in sampled]
        names = [
            [phrase in said.defects for phrase in row]
            for row, said in zip(sampled, phrases, strict=True)
        ]
        device = batch.mask.device
        vectors = stage.class_head.embed_texts(texts.to(device))
        return Words(vectors, torch.tensor(ids, device=device), torch.tensor(names, device=device))


def compare(
    criterion: MaskCriterion, masks: Tensor, logits: Tensor, targets: MaskTargets, points: Tensor
) -> MaskLosses:
    """The criterion's losses as this process's share of the whole batch's."""
    totals = targets.totals(masks.shape[2], criterion.good_weight)
    return criterion(masks, logits, targets, points, mean_over_ranks(totals))


def objects_or_void(void: Tensor, similarity: Tensor, words: Words, targets: MaskTargets) -> Tensor:
    """Logits (S, B, Q, 2) of class 0 and of any object, from void (S, B, Q) and similarity.

    An object that no phrase names resembles some phrase of its caption.
    """
    own = is_own(len(targets.is_real), words)
    named = own & words.is_defect
    shows = targets.is_real.any(1)[:, None, None]
    others = torch.where(shows, own, words.is_defect)
    allowed = torch.where(named.flatten(1).any(1)[:, None, None], named, others)
    allowed = allowed | ~allowed.flatten(1).any(1)[:, None, None]
    objects = similarity.masked_fill(~allowed[:, None], -torch.inf).flatten(3).amax(-1)
    return torch.stack([void, objects], dim=-1)


def ground(similarity: Tensor, words: Words, *, said: Tensor) -> Tensor:
    """L_ground of the whole batch; said: (B, L) ids of all phrases of this process's captions.

    A phrase that an image's own caption says too does not count against it, so that two captions
    that say the same are no rivals at all.
    """
    own = is_own(len(said), words)
    counted = (unsaid(said, words.ids) & (words.ids != 0)) | own
    scores = pair_scores(phrase_scores(similarity), counted)
    pairs = gather(scores.transpose(0, 1)).transpose(0, 1)
    is_labelled = (words.ids != 0).any(1)
    is_rival = (gather(counted.any(-1).long()) > 0) & is_labelled & is_labelled[:, None]
    return grounding_loss(pairs, is_rival, is_labelled)


def is_own(image_count: int, words: Words) -> Tensor:
    """Which phrases are of an image's own caption, (B, J, P) bool."""
    rows = torch.arange(len(words.ids), device=words.ids.device)
    own = rows[own_rows(image_count)][:, None] == rows
    return own[..., None] & (words.ids != 0)


@lru_cache(1)
def phrases_by(vocabulary: Vocabulary) -> NounPhrases:
    """The finder of phrases for a vocabulary."""
    return NounPhrases(vocabulary)


def sample_phrases(phrases: Phrases, seed: int) -> list[str]:
    """As many phrases as a caption has a place for: each of them before one comes again.

    The defects come first, either kind in the order that the seed shuffles; "" for none.
    """
    order = random.Random(seed)
    kinds = (phrases.defects, phrases.others)
    shuffled = [phrase for kind in kinds for phrase in order.sample(kind, len(kind))]
    return list(islice(cycle(shuffled or [""]), PHRASES_PER_CAPTION))


def ids_of(phrases: list[Phrases], device: torch.device) -> Tensor:
    """The ids of all phrases of each caption, (B, L), padded with 0."""
    ids = [[phrase_id(phrase) for phrase in (*each.defects, *each.others)] for each in phrases]
    width = max(1, max(len(row) for row in ids))
    return torch.tensor([row + [0] * (width - len(row)) for row in ids], device=device)


def phrase_id(phrase: str) -> int:
    """A number that stands for a phrase on every process; 0 for none."""
    return int.from_bytes(blake2b(phrase.encode(), digest_size=7).digest()) if phrase else 0
