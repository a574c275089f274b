"""How well label maps and image answers name the defects, against the truth.

Scores without names are judged in `anomaly.py`. Never a bare "iou": the paper's "IoU" is
undefined, so that each kind has its own name (docs/paper.md, row 20).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from datamodules.sample import GOOD, GOOD_ID, Batch, Prediction
from lightning_modules.metrics.regions import find_regions, names_by_vote

# Of a share of one. An int64 then holds the sum of two thousand million shares.
UNITS = 2**32
SUMS = ("defective_hits", "iou_sum", "f1_sum", "defective_count", "box_iou_sum", "box_count")


def to_units(shares: Tensor) -> Tensor:
    """The nearest int64 numbers of units."""
    return (shares.double() * UNITS).round().to(torch.int64)


def from_units(units: Tensor) -> Tensor:
    """What sums of units stand for, float64."""
    return units.double() / UNITS


class SegmentationMetrics(Metric):
    """Type accuracies and the three kinds of IoU and F1, from three confusion matrices and sums.

    `type_accuracy`: share of images whose answer is the dominant true type or good;
    `type_accuracy_balanced`: its mean over the types that occur; `type_accuracy_defective`: share
    of defective images whose highest-scored type, good aside, is the dominant true one, a tie none.
    `name_accuracy`: of the true regions whatever was found there, the share that their pixels give
    their name, as those of a found region do, mean over the types that occur (`names_by_vote`).
    `iou_image`, `f1_image`: of the foreground whatever its type, mean over images with defect
    pixels (over all products alike).
    `iou_dataset`, `f1_dataset`: the foreground's, pixels pooled; `iou_type/<name>`,
    `f1_type/<name>`: one type's, pixels pooled; `iou_type_mean`: over the types with an answer.
    `type_accuracy_head`, `_middle`, `_tail` and `iou_type_head` and so on: means over the most
    frequent third of the types, the next and the rarest (`split_by_frequency`), there only where
    three types occur.
    `iou_image_box`: iou_image over images whose mask is made of boxes, there only with such; they
    count in no other IoU.
    Images without a mask count in the type accuracies alone. Figures without an answer are NaN.
    """

    full_state_update = False
    type_confusion: Tensor
    pixel_confusion: Tensor
    region_confusion: Tensor
    defective_hits: Tensor
    iou_sum: Tensor
    f1_sum: Tensor
    defective_count: Tensor
    box_iou_sum: Tensor
    box_count: Tensor

    def __init__(self, class_names: Sequence[str]) -> None:
        """class_names: a vocabulary's names, good first; ValueError otherwise."""
        super().__init__()
        if not class_names or class_names[0] != GOOD:
            raise ValueError(f"class names are {list(class_names)[:3]}: expected '{GOOD}' first")
        self.class_names = tuple(class_names)
        square = torch.zeros(len(class_names), len(class_names), dtype=torch.int64)
        for name in ("type_confusion", "pixel_confusion", "region_confusion"):
            self.add_state(name, square.clone(), dist_reduce_fx="sum")
        for name in SUMS:
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predictions: list[Prediction], batch: Batch) -> None:
        """Counts one batch; one prediction per image of it."""
        device = self.type_confusion.device
        for index, prediction in enumerate(predictions):
            true_types = batch.class_ids[index]
            true_type = true_types[0] if true_types else GOOD_ID
            self.type_confusion[true_type, prediction.type_id] += 1
            if true_types:
                scores = prediction.type_scores[1:]
                self.defective_hits += bool((scores >= scores[true_type - 1]).sum() == 1)
            if not bool(batch.has_mask[index]):
                continue
            mask, answer = batch.mask[index].to(device), prediction.label_map.to(device)
            confusion = count_pairs(mask, answer, len(self.class_names))
            self._count_regions(mask, prediction)
            is_defective, is_box = confusion[1:].sum() > 0, bool(batch.is_box[index])
            iou, f1 = foreground_overlap(confusion)
            if not is_box:
                self.pixel_confusion += confusion
            if is_defective and is_box:
                self.box_iou_sum += to_units(iou)
                self.box_count += 1
            elif is_defective:
                self.iou_sum += to_units(iou)
                self.f1_sum += to_units(f1)
                self.defective_count += 1

    def _count_regions(self, mask: Tensor, prediction: Prediction) -> None:
        regions = find_regions(mask.cpu().numpy())
        scores, types = prediction.anomaly_map, prediction.type_map
        named = names_by_vote(regions, types.cpu().numpy(), scores.float().cpu().numpy())
        pairs = torch.from_numpy(regions.class_ids), torch.from_numpy(named)
        self.region_confusion += count_pairs(*pairs, len(self.class_names)).to(mask.device)

    def compute(self) -> dict[str, Tensor]:
        """The figures, each a scalar in [0, 1] or NaN."""
        types = self.type_confusion.cpu().double()
        recall = types.diagonal() / types.sum(dim=1)
        regions = self.region_confusion.cpu().double()
        pixels = self.pixel_confusion.cpu().double()
        matched, total = pixels.diagonal()[1:], (pixels.sum(dim=0) + pixels.sum(dim=1))[1:]
        iou_of_type, f1_of_type = matched / (total - matched), 2 * matched / total
        pooled = foreground_overlap(self.pixel_confusion)
        # Where no mask shows a defect, what is marked is wrong and overlaps with nothing.
        has_defect = self.pixel_confusion[1:].sum() > 0
        iou_dataset, f1_dataset = (one.where(has_defect, torch.nan) for one in pooled)
        figures = {
            "type_accuracy": types.diagonal().sum() / types.sum(),
            "type_accuracy_balanced": recall.nanmean(),
            "type_accuracy_defective": self.defective_hits.cpu() / types[1:].sum(),
            "name_accuracy": (regions.diagonal() / regions.sum(dim=1)).nanmean(),
            "iou_image": from_units(self.iou_sum) / self.defective_count,
            "f1_image": from_units(self.f1_sum) / self.defective_count,
            "iou_dataset": iou_dataset,
            "f1_dataset": f1_dataset,
            "iou_type_mean": iou_of_type.nanmean(),
        }
        if self.box_count > 0:
            figures["iou_image_box"] = from_units(self.box_iou_sum) / self.box_count
        for part, types_of_part in split_by_frequency(types[1:].sum(dim=1)).items():
            figures[f"type_accuracy_{part}"] = recall[1:][types_of_part].mean()
            figures[f"iou_type_{part}"] = iou_of_type[types_of_part].nanmean()
        for number, name in enumerate(self.class_names[1:]):
            figures[f"iou_type/{name}"] = iou_of_type[number]
            figures[f"f1_type/{name}"] = f1_of_type[number]
        device = self.type_confusion.device
        return {name: figure.float().to(device) for name, figure in figures.items()}


def count_pairs(truth: Tensor, answer: Tensor, class_count: int) -> Tensor:
    """(K+1, K+1) int64 confusion matrix: rows true ids, columns answered ids, same shape inputs."""
    pairs = truth.flatten() * class_count + answer.flatten()
    return torch.bincount(pairs, minlength=class_count**2).reshape(class_count, class_count)


def foreground_overlap(confusion: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and F1 of "any defect" against good, NaN where neither side has any.

    confusion: (K+1, K+1) pixel counts, good first.
    """
    shared = confusion[1:, 1:].sum().double()
    union = confusion.sum() - confusion[GOOD_ID, GOOD_ID]
    return shared / union, 2 * shared / (union + shared)


def split_by_frequency(image_counts: Tensor) -> dict[str, Tensor]:
    """Places of the types in each third by frequency, {} where fewer than three types occur.

    image_counts: (K,) images of the split whose dominant type each is; types without one are in
    no third, and equals keep their order. Head and then middle take the odd ones.
    """
    order = image_counts.sort(descending=True, stable=True).indices
    occurring = order[image_counts[order] > 0]
    if len(occurring) < 3:
        return {}
    return dict(zip(("head", "middle", "tail"), occurring.tensor_split(3), strict=True))
