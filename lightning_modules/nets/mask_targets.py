"""What a batch's images really show, as the mask losses want it; how far off is `mask_criterion`'s.

Nothing here waits for the device: how many truths are real stays on it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from datamodules.sample import Batch
from lightning_modules.equations.mask_losses import UNKNOWN


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

    def as_objects(self, is_told: Tensor) -> "MaskTargets":
        """The same without types: 1 is any object. is_told: (B,) bool, images said to show one.

        For images whose masks are not drawn this is all that is known of their answer.
        """
        shows = self.is_real.any(1)
        answer = torch.where(self.is_drawn, shows.long(), torch.where(is_told, 1, UNKNOWN))
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
