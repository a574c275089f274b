"""The four stations of a datum: Record -> Sample -> Batch -> Prediction, and their shapes.

Class id 0 is always "good" (background, no defect); defect types are 1..K in vocabulary order.
Words are in `captions.py` and `vocabulary.py`; the file that holds Records is `manifest.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from datamodules.captions import Caption

GOOD = "good"
GOOD_ID = 0
# A pixel votes for its region's name by this power of its score, so that a small sure core outvotes
# a wide pale rim: by the plain score a blowhole in an uneven tile was called uneven, by the highest
# pixel alone fewer images were named right.
VOTE_POWER = 8
# The split of images of which nobody has said whether they are good: never validated or tested.
UNLABELLED = "unlabelled"
# Of a file's SHA-256, which serve calls an image by.
KEY_LETTERS = 16
# The pixels of an image as a viewer shows them, turned as EXIF says, and as they are stored.
SHOWN, STORED = "shown", "stored"


@dataclass(frozen=True, slots=True)
class MaskValues:
    """A range of grey values in a mask file, ends included, and the class it stands for."""

    low: int
    high: int
    name: str


@dataclass(frozen=True, slots=True)
class Region:
    """One annotated place in the pixels of its image.

    kind and numbers: "box" (left, top, width, height); "polygon" (x0, y0, x1, y1, ...);
    "runs" (start, length, start, length, ...), 0-based, down the columns of the whole image.
    """

    name: str
    kind: str
    numbers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a manifest: where the image and its annotation lie, and what is said of them.

    Paths are relative to the manifest's root. The annotation is a `mask` file or `regions`, or
    neither. `defects` names the types in the image, the dominant one first, and is empty for a
    good part. Records of one `group` (capture run, board, wafer) never part between splits.
    released_caption came with the data, verbatim. window_xywh_px cuts a tile out of the image.
    width_px, height_px and the file's sha256 are 0 and "" until `inspection.py` has looked.
    flaw: why the annotation's text is unusable; such a record never reaches a manifest.
    frame: the pixels in which the annotation is said to be drawn, see `preparing/frames.py`.
    is_generated: painted by a model, so that it may be trained on but never validated or tested.
    """

    image: str
    mask: str
    mask_values: tuple[MaskValues, ...]
    defects: tuple[str, ...]
    caption: Caption
    group: str
    source: str
    split: str = ""
    regions: tuple[Region, ...] = ()
    released_caption: str = ""
    licence: str = ""
    window_xywh_px: tuple[int, ...] = ()
    width_px: int = 0
    height_px: int = 0
    sha256: str = ""
    flaw: str = ""
    is_generated: bool = False
    frame: str = field(default="", compare=False)

    @property
    def mask_kind(self) -> str:
        """What the annotation's outline is worth: "pixel", "box" (a rough frame) or "none"."""
        if any(region.kind == "box" for region in self.regions):
            return "box"
        return "pixel" if self.mask or self.regions else "none"


@dataclass(frozen=True, slots=True)
class Sample:
    """One opened and transformed record.

    image: (3, H, W) in [-1, 1]; mask: (H, W) int64 class ids, all zero where `has_mask` is False;
    is_box: the mask is made of boxes, wider than the defects; row: the manifest's row;
    class_ids: the defect types that are visible, dominant first, empty for good; seed: of the noise
    that a stage draws for this sample, the same in whichever process and after a resume.
    latents (c, h, w) and image_embedding (D,) stand in for the pixels where these were cached.
    variant_id: the same number comes with the same image in the same crop and colours.
    product: what part the image shows, as its source says.
    """

    image: Tensor
    mask: Tensor
    has_mask: bool
    caption: str
    class_ids: tuple[int, ...]
    row: int
    is_box: bool = False
    seed: int = 0
    latents: Tensor | None = None
    image_embedding: Tensor | None = None
    variant_id: int = 0
    product: str = ""


@dataclass(slots=True)
class Batch:
    """Samples of one size, stacked. Not frozen: Lightning moves it to the device in place.

    image: (B, 3, H, W) in [-1, 1]; mask: (B, H, W) int64 class ids; has_mask, is_box: (B,) bool;
    row: (B,) int64; captions, class_ids, seeds, variant_ids, products: one per sample. latents:
    (B, c, h, w) and image_embedding: (B, D), float16, or None: with them, image is (B, 3, 0, 0).
    """

    image: Tensor
    mask: Tensor
    has_mask: Tensor
    is_box: Tensor
    captions: list[str]
    class_ids: list[tuple[int, ...]]
    row: Tensor
    seeds: list[int]
    latents: Tensor | None = None
    image_embedding: Tensor | None = None
    variant_ids: list[int] = field(default_factory=list)
    products: list[str] = field(default_factory=list)

    def pin_memory(self) -> "Batch":
        """The batch in memory that a GPU copies from without making anyone wait."""
        pinned = replace(self)
        for name in (one.name for one in fields(self)):
            if isinstance(value := getattr(self, name), Tensor):
                setattr(pinned, name, value.pin_memory())
        return pinned


@dataclass(slots=True)
class Instance:
    """One connected defect: mask (H, W) bool; box in pixels as (x, y, width, height).

    runners_up: class ids of the next names, best first, and the share of the region's vote that
    each has, in (0, 0.5]; its own name has most.
    """

    class_id: int
    score: float
    mask: Tensor
    box_xywh_px: tuple[int, int, int, int]
    runners_up: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Prediction:
    """What a model says of one image, at the image's own size.

    label_map: (H, W) int64 class ids; anomaly_map: (H, W) in [0, 1]; image_score: in [0, 1],
    high for defective; type_scores: (K+1,) scores of good and each type, summing to one;
    type_id: the image's answer, 0 for good, else one of label_map's names where it has any;
    type_map: (H, W) int64, the best defect type 1..K at each pixel whatever its score;
    needs_review: too close to call, a person should look.
    """

    label_map: Tensor
    anomaly_map: Tensor
    image_score: float
    type_scores: Tensor
    type_id: int
    type_map: Tensor
    instances: list[Instance] = field(default_factory=list)
    needs_review: bool = False


def collate(samples: Sequence[Sample]) -> Batch:
    """The samples as one Batch; all images must have the same size."""
    sizes = {tuple(sample.image.shape[1:]) for sample in samples}
    if len(sizes) != 1:
        raise ValueError(
            f"a batch holds images of {len(sizes)} sizes ({sorted(sizes)[:3]}): expected one size; "
            "use a cropping transform or batch size 1"
        )
    return Batch(
        image=torch.stack([sample.image for sample in samples]),
        mask=torch.stack([sample.mask for sample in samples]),
        has_mask=torch.tensor([sample.has_mask for sample in samples]),
        is_box=torch.tensor([sample.is_box for sample in samples]),
        captions=[sample.caption for sample in samples],
        class_ids=[sample.class_ids for sample in samples],
        row=torch.tensor([sample.row for sample in samples]),
        seeds=[sample.seed for sample in samples],
        latents=_stacked([sample.latents for sample in samples]),
        image_embedding=_stacked([sample.image_embedding for sample in samples]),
        variant_ids=[sample.variant_id for sample in samples],
        products=[sample.product for sample in samples],
    )


def _stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.stack(present) if len(present) == len(parts) else None
