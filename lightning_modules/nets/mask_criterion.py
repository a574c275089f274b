"""L_mask and L_cls over all prediction sets, with one copy to the host per step (NOTES 16)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.mask_losses import (
    binary_mask_loss,
    class_loss,
    dice_loss,
    uncertain_points,
)
from lightning_modules.equations.matching import (
    assign,
    dice_cost,
    mask_cost,
    sample_points,
    to_index,
)
from lightning_modules.nets.class_head import answer_for_image


@dataclass(slots=True)
class MaskTargets:
    """masks: (B, N, H, W) float 0/1, padded; classes: (B, N) ids, padded with 0;
    counts: how many of the N are real; drawn: (B,) bool, whether the image's masks are known;
    answer: (B,) the image's class, 0 for good.
    """

    masks: Tensor
    classes: Tensor
    counts: list[int]
    drawn: Tensor
    answer: Tensor


@dataclass(slots=True)
class MaskLosses:
    """Scalars: masks by cross-entropy and by dice, names of queries, answer for the image."""

    mask: Tensor
    dice: Tensor
    name: Tensor
    answer: Tensor


@dataclass(slots=True)
class MaskCriterion:
    """Settings of the mask losses; `point_count` points of each mask are compared.

    Matching costs weigh like the losses: mask 1, dice 1, name `name_weight`.
    """

    point_count: int = 12_544
    oversampling: int = 3
    uncertain_share: float = 0.75
    good_weight: float = 0.1
    name_weight: float = 0.5

    def __call__(
        self, masks: Tensor, logits: Tensor, targets: MaskTargets, points: Tensor
    ) -> MaskLosses:
        """Losses of masks (S, B, Q, h, w) and logits (S, B, Q, K+1), in float32.

        points: (B, P, 2) random in [0, 1], P = point_count * (1 + oversampling) at least. The
        first point_count serve the matching, the others are the candidates of the losses.
        """
        masks, logits = masks.float(), logits.float()
        index = self.match(masks, logits, targets, points[:, : self.point_count])
        target = torch.zeros(logits.shape[:-1], dtype=torch.long, device=logits.device)
        sets, image, query, truth = (part.to(logits.device) for part in index)
        target[sets, image, query] = targets.classes[image, truth]
        known = targets.drawn.expand(len(logits), -1)
        name = class_loss(logits[known].flatten(0, -2), target[known].flatten(), self.good_weight)
        answers = torch.stack([answer_for_image(each) for each in logits])
        wanted = targets.answer.expand(len(logits), -1)
        answer = functional.cross_entropy(answers.flatten(0, 1), wanted.flatten())
        candidates = points[:, self.point_count :]
        mask, dice = self.compare(
            masks[sets, image, query], targets.masks[image, truth], candidates[image], len(logits)
        )
        return MaskLosses(mask, dice, name if known.any() else answer * 0, answer)

    @torch.no_grad()
    def match(
        self, masks: Tensor, logits: Tensor, targets: MaskTargets, points: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Index tensors (set, image, query, truth) of the cheapest assignment of each set."""
        sets, batch_size = masks.shape[:2]
        truth = sample_points(targets.masks, points)
        names = logits.softmax(-1)
        costs = []
        for each_masks, each_names in zip(masks, names, strict=True):
            sampled = sample_points(each_masks, points)
            named = torch.gather(
                each_names, 2, targets.classes[:, None].expand(-1, each_names.shape[1], -1)
            )
            cost = mask_cost(sampled, truth) + dice_cost(sampled, truth)
            costs.append(cost - self.name_weight * named)
        on_host = torch.cat(costs).cpu().numpy()
        place, query, pick = to_index(assign(on_host, targets.counts * sets))
        return place // batch_size, place % batch_size, query, pick

    def compare(
        self, masks: Tensor, truth: Tensor, candidates: Tensor, sets: int
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and dice of matched masks (M, h, w) and truth (M, H, W) at hard points."""
        if len(masks) == 0:
            return masks.sum() * 0, masks.sum() * 0
        masks, truth = masks[:, None], truth[:, None]
        keep = int(self.point_count * self.uncertain_share)
        with torch.no_grad():
            at_candidates = sample_points(masks, candidates)[:, 0]
            random = candidates[:, : self.point_count - keep]
            chosen = uncertain_points(at_candidates, candidates, random, keep)
            wanted = sample_points(truth, chosen)[:, 0]
        logits = sample_points(masks, chosen)[:, 0]
        # Sums over prediction sets, means over the masks of one set.
        count = max(1.0, len(masks) / sets)
        return binary_mask_loss(logits, wanted, count), dice_loss(logits, wanted, count)


def collect_targets(
    mask: Tensor, has_mask: Tensor, class_ids: list[tuple[int, ...]]
) -> MaskTargets:
    """Targets from id masks (B, H, W): one truth per defect type that is visible in an image."""
    flat = mask.flatten(1)
    ids = [sorted(set(np.unique(row.cpu().numpy()).tolist()) - {0}) for row in flat]
    width = max(1, max(len(row) for row in ids))
    padded = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=mask.device)
    real = padded > 0
    masks = ((mask[:, None] == padded[..., None, None]) & real[..., None, None]).float()
    answer = torch.tensor([row[0] if row else 0 for row in class_ids], device=mask.device)
    drawn = has_mask | (answer == 0)
    return MaskTargets(masks, padded, [len(row) for row in ids], drawn, answer)
