"""Frozen features of training pictures that come again, taken once and kept (few-shot training).

They come again where the data draws from a fixed number of augmented variants of each picture.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class FeatureStore:
    """Feature maps by the variant they are of, float16 in main memory, up to `limit_bytes`.

    What does not fit is taken anew at each turn, so the limit costs time and never changes a
    result: maps are rounded to float16 whether they are kept or not. A limit of 0 switches both
    off. Each process keeps its own.
    """

    def __init__(self, take: Callable[[Tensor], list[Tensor]], limit_bytes: int) -> None:
        self.take, self.limit_bytes = take, limit_bytes
        self.held_bytes = 0
        self._kept: dict[int, list[Tensor]] = {}

    def __call__(self, image: Tensor, variant_ids: Sequence[int]) -> list[Tensor]:
        """The maps of image (B, 3, H, W), taken only of the variants that are not kept.

        Raises ValueError for features that float16 cannot hold.
        """
        if not self.limit_bytes:
            return self.take(image)
        rows = {variant: self._kept[variant] for variant in variant_ids if variant in self._kept}
        new = [place for place, variant in enumerate(variant_ids) if variant not in rows]
        if new:
            maps = [each.half() for each in self.take(image[new])]
            for place, *row in zip(new, *maps, strict=True):
                rows[variant_ids[place]] = row
                self._keep(variant_ids[place], row)
        columns = zip(*(rows[variant] for variant in variant_ids), strict=True)
        return [
            torch.stack([each.to(image.device) for each in column]).to(image.dtype)
            for column in columns
        ]

    def _keep(self, variant: int, row: list[Tensor]) -> None:
        if not all(bool(each.isfinite().all()) for each in row):
            raise ValueError(
                "features are beyond float16's range of 65504, expected them within: set "
                "feature_cache_gb: 0, which keeps none"
            )
        size_bytes = sum(each.nbytes for each in row)
        if variant not in self._kept and self.held_bytes + size_bytes <= self.limit_bytes:
            # Copied, because a row of a batch would hold the whole batch.
            self._kept[variant] = [each.to("cpu", copy=True) for each in row]
            self.held_bytes += size_bytes
