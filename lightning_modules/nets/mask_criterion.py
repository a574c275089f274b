"""L_mask and L_cls over all prediction sets, one copy to the host per step (docs/paper.md, row 16).

What the images show is in `MaskTargets`; the last functions share a batch over processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn import functional

from datamodules.sample import Batch
from lightning_modules.equations.mask_losses import (
    UNKNOWN,
    binary_mask_loss,
    box_loss,
    class_loss,
    dice_loss,
    uncertain_points,
)
from lightning_modules.equations.matching import (
    assign,
    dice_cost,
    mask_cost,
    project,
    sample_points,
    to_index,
)
from lightning_modules.nets.class_head import answer_for_image


@dataclass(slots=True)
class MaskTargets:
    """One truth per defect type of an image, padded to N.

    masks: (B, N, H, W) float 0/1; classes: (B, N) ids; is_real: (B, N) bool, whether a pixel of
    the truth is in sight; is_drawn, is_box: (B,) bool, whether all defects of the image are drawn,
    and only as boxes; answer: (B,) the image's class, 0 for good, UNKNOWN where nobody said.
    """

    masks: Tensor
    classes: Tensor
    is_real: Tensor
    is_drawn: Tensor
    is_box: Tensor
    answer: Tensor

    def as_objects(self, is_labelled: Tensor) -> "MaskTargets":
        """The same without types: 1 is any object. is_labelled: (B,) bool, images said to show one.

        For images whose masks are not drawn this is all that is known of their answer.
        """
        shows = self.is_real.any(1)
        answer = torch.where(self.is_drawn, shows.long(), torch.where(is_labelled, 1, UNKNOWN))
        return replace(self, classes=self.is_real.long(), answer=answer)

    def totals(self, query_count: int, good_weight: float) -> Tensor:
        """Masks, weights of names and answers in one prediction set, (3,), which losses average."""
        masks = self.is_real.sum(1).clamp(max=query_count)
        names = (masks + good_weight * (query_count - masks)) * self.is_drawn
        answers = self.answer != UNKNOWN
        return torch.stack([each.sum().float() for each in (masks, names, answers)])


def collect_targets(batch: Batch) -> MaskTargets:
    """The targets of a batch, whose `class_ids` say which types are in sight in a drawn image."""
    ids = [sorted(set(row)) for row in batch.class_ids]
    width = max(1, max(len(row) for row in ids))
    device = batch.mask.device
    classes = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=device)
    places = classes[..., None, None]
    masks = ((batch.mask[:, None] == places) & (places > 0)).float()
    first = torch.tensor([row[0] if row else 0 for row in batch.class_ids], device=device)
    answer = torch.where(batch.has_mask | (first > 0), first, UNKNOWN)
    is_real = masks.flatten(2).any(-1)
    return MaskTargets(masks, classes, is_real, batch.has_mask, batch.is_box, answer)


@dataclass(slots=True)
class MaskLosses:
    """Scalars: masks by cross-entropy and by dice, masks known as boxes, names of queries, answer
    for the image, captions and names of points (None where these teach nothing). All but the last
    are summed over prediction sets and averaged within one.
    """

    mask: Tensor
    dice: Tensor
    box: Tensor
    name: Tensor
    answer: Tensor
    ground: Tensor | None = None
    point: Tensor | None = None

    @property
    def of_points(self) -> Tensor | float:
        """The loss of points, which the paper does not have."""
        return 0.0 if self.point is None else self.point

    @property
    def of_masks(self) -> Tensor:
        """L_mask."""
        return self.mask + self.dice + self.box

    @property
    def of_names(self) -> Tensor:
        """L_cls or L_ground."""
        names = self.name + self.answer
        return names if self.ground is None else names + self.ground

    def parts(self) -> dict[str, Tensor]:
        """The losses there are, by name and without gradient."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value.detach() for name, value in values.items() if value is not None}


@dataclass(slots=True)
class Matches:
    """Index tensors (set, image, query, truth), (4, M): of truths drawn by pixel, and as boxes."""

    by_pixel: Tensor
    by_box: Tensor


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

    @property
    def drawn_points(self) -> int:
        """The random points that each image needs: those of the matching, and candidates."""
        return self.point_count * (1 + self.oversampling)

    def draw_points(self, seeds: Sequence[int], device: torch.device) -> Tensor:
        """The points (B, P, 2) in [0, 1] where each image's masks are compared, by its seed.

        Whichever process draws them, before or after a resume, they are the same.
        """
        points = torch.empty(len(seeds), self.drawn_points, 2)
        generator = torch.Generator()
        for place, seed in enumerate(seeds):
            points[place].uniform_(generator=generator.manual_seed(seed))
        if device.type == "cuda":  # so that the GPU need not be waited for
            points = points.pin_memory()
        return points.to(device, non_blocking=True)

    def __call__(
        self, masks: Tensor, logits: Tensor, targets: MaskTargets, points: Tensor, totals: Tensor
    ) -> MaskLosses:
        """Losses of masks (S, B, Q, h, w) and logits (S, B, Q, K+1), in float32.

        points: (B, P, 2) random in [0, 1], P = drawn_points: the first point_count serve the
        matching, the others are the candidates of the losses. totals: what `targets.totals`
        counted, of all processes.
        """
        with torch.autocast(masks.device.type, enabled=False):
            masks, logits = masks.float(), logits.float()
            mask_total, name_total, answer_total = totals
            matches = self.match(masks, logits, targets, points[:, : self.point_count])
            mask, dice = self.compare(masks, targets, matches.by_pixel, points, mask_total)
            answers = torch.stack([answer_for_image(each) for each in logits])
            return MaskLosses(
                mask,
                dice,
                fit_boxes(masks, targets, matches.by_box, mask_total),
                class_loss(
                    logits.flatten(0, 2),
                    names_of(logits, targets, matches).flatten(),
                    self.good_weight,
                    name_total,
                ),
                class_loss(
                    answers.flatten(0, 1),
                    targets.answer.expand(len(logits), -1).flatten(),
                    1.0,
                    answer_total,
                ),
            )

    @torch.no_grad()
    def match(self, masks: Tensor, logits: Tensor, targets: MaskTargets, points: Tensor) -> Matches:
        """The cheapest assignment of queries to real truths in each set."""
        sets, batch_size = masks.shape[:2]
        costs = self.costs(masks, logits, targets, points)
        flags = [targets.is_real.flatten(), targets.is_box]
        on_host = torch.cat([costs.flatten(), *flags]).cpu().numpy()
        by_query, is_real, is_box = np.split(on_host, np.cumsum([costs.numel(), flags[0].numel()]))
        is_real = np.tile(is_real.reshape(batch_size, -1) > 0, (sets, 1))
        place, query, truth = to_index(assign(by_query.reshape(costs.shape), is_real))
        index = torch.stack([place // batch_size, place % batch_size, query, truth])
        as_box = torch.from_numpy(is_box > 0)[index[1]]
        return Matches(
            index[:, ~as_box].to(masks.device, non_blocking=True),
            index[:, as_box].to(masks.device, non_blocking=True),
        )

    def costs(self, masks: Tensor, logits: Tensor, targets: MaskTargets, points: Tensor) -> Tensor:
        """What each query would cost as each truth, (S * B, Q, N); boxes by their projections."""
        sets, query_count = len(masks), masks.shape[2]
        truth = sample_points(targets.masks, points)
        by_pixel = []
        for each in masks:  # one set after the other: all points at once would fill the memory
            sampled = sample_points(each, points)
            by_pixel.append(mask_cost(sampled, truth) + dice_cost(sampled, truth))
        box = project(cells_touched(targets.masks, masks.shape[-2:])).repeat(sets, 1, 1)
        projected = project(masks).flatten(0, 1)
        by_box = mask_cost(projected, box) + dice_cost(projected, box)
        as_box = targets.is_box.repeat(sets)[:, None, None]
        classes = targets.classes.repeat(sets, 1)[:, None].expand(-1, query_count, -1)
        named = torch.gather(logits.softmax(-1).flatten(0, 1), 2, classes)
        return torch.where(as_box, by_box, torch.cat(by_pixel)) - self.name_weight * named

    def compare(
        self, masks: Tensor, targets: MaskTargets, index: Tensor, points: Tensor, total: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and dice of the matched masks at hard points."""
        sets, image, query, truth = index
        matched, wanted = masks[sets, image, query][:, None], targets.masks[image, truth][:, None]
        candidates = points[:, self.point_count :][image]
        keep = int(self.point_count * self.uncertain_share)
        with torch.no_grad():
            at_candidates = sample_points(matched, candidates)[:, 0]
            random = candidates[:, : self.point_count - keep]
            chosen = uncertain_points(at_candidates, candidates, random, keep)
            at_truth = sample_points(wanted, chosen)[:, 0]
        logits = sample_points(matched, chosen)[:, 0]
        return binary_mask_loss(logits, at_truth, total), dice_loss(logits, at_truth, total)


def fit_boxes(masks: Tensor, targets: MaskTargets, index: Tensor, total: Tensor) -> Tensor:
    """What the masks that are matched with boxes lack to fit them."""
    sets, image, query, truth = index
    boxes = cells_touched(targets.masks[image, truth], masks.shape[-2:])
    return box_loss(masks[sets, image, query], boxes > 0, total)


def cells_touched(boxes: Tensor, size: tuple[int, ...]) -> Tensor:
    """Boxes (M, N, H, W) or (M, H, W) of 0 and 1 at a mask's `size`; a cell may hold their rim."""
    return functional.adaptive_max_pool2d(boxes, size)


def names_of(logits: Tensor, targets: MaskTargets, matches: Matches) -> Tensor:
    """The class that each query should answer, (S, B, Q); UNKNOWN where no mask is drawn."""
    wanted = torch.where(targets.is_drawn[:, None], 0, UNKNOWN)
    names = wanted.expand(logits.shape[:-1]).clone()
    sets, image, query, truth = torch.cat([matches.by_pixel, matches.by_box], dim=1)
    names[sets, image, query] = targets.classes[image, truth]
    return names


# Each reduction is asked by all processes at the same place, with tensors of one shape.


def rank_count() -> int:
    """The number of processes that train together."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def mean_over_ranks(totals: Tensor) -> Tensor:
    """What each process divides its sums by, so that the mean of theirs is the whole batch's."""
    totals = totals.clone()
    if rank_count() > 1:
        distributed.all_reduce(totals)
    return totals.clamp(min=1e-6) / rank_count()


def gather(values: Tensor) -> Tensor:
    """All processes' values (B, ...) one below the other, with gradient to each of them."""
    return _Gather.apply(values) if rank_count() > 1 else values


def own_rows(row_count: int) -> slice:
    """Where this process's `row_count` rows are among those of `gather`."""
    first = distributed.get_rank() * row_count if rank_count() > 1 else 0
    return slice(first, first + row_count)


class _Gather(torch.autograd.Function):
    """Rows of all processes; torch's own mixes up gradients that are not contiguous, over gloo."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        values = values.contiguous()
        parts = [torch.empty_like(values) for _ in range(rank_count())]
        distributed.all_gather(parts, values)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient[own_rows(len(gradient) // rank_count())]
