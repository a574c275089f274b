"""Names of single points, which teach the features of masks what a few queries are slow to tell.

Of all queries one or two are matched in an image, so that little is learned from each; a U-Net is
told of each pixel. Here the class head names points as if each were a mask of its own. Departs from
the paper, which has no such loss: `loss_weight_point` is 0 there.
"""

import torch
from torch import Tensor

from lightning_modules.equations.mask_losses import UNKNOWN, class_loss, dice_loss
from lightning_modules.equations.matching import sample_points
from lightning_modules.nets.all_ranks import mean_over_ranks
from lightning_modules.nets.mask_targets import MaskTargets

NOWHERE = -100.0  # the logit of a mask that is empty for certain


def point_loss(logits: Tensor, targets: MaskTargets, points: Tensor) -> Tensor:
    """Cross-entropy and dice of names at points, in images whose defects are drawn by pixel.

    logits: (B, P, K+1) at points (B, P, 2) in [0, 1], as float32.
    """
    is_known = (targets.is_drawn & ~targets.is_box)[:, None]
    inside = sample_points(targets.masks, points) > 0.5
    names = torch.where(is_known, (inside * targets.classes[..., None]).sum(1), UNKNOWN)
    is_compared = (targets.is_real & is_known)[..., None]
    counts = torch.stack([(names != UNKNOWN).sum(), is_compared.sum()]).float()
    point_total, mask_total = mean_over_ranks(counts)
    # What is not compared is empty on both sides, and so without loss.
    margins = torch.where(is_compared, margins_of(logits, targets.classes), NOWHERE)
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
