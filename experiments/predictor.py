"""A trained stage that finds and names defects: from a notebook, a service, `predict.py`.

predictor = load_predictor("mlruns/runs/parts")
result = predictor.predict("part.png", labels=["crack", ["scratch", "scuff"]])
print(result.name, [(one.name, one.score) for one in result.instances])
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from callbacks.drawing import RegionTag, draw_overlay
from datamodules.decode import GREY_MODES, WIDE_MODES, open_image, turn_of, upright
from datamodules.sample import Prediction
from datamodules.transforms import to_tensor
from datamodules.vocabulary import CLASS_MARK, Vocabulary, defect_name
from experiments.checkpoints import (
    GALLERY,
    default_device,
    load_stage,
    on_device,
    read_thresholds,
)
from experiments.inference.examples import (
    ENCODER,
    NamesByExample,
    embed_example,
    read_gallery,
    trusted,
)
from experiments.inference.exported_model import is_exported, open_exported
from experiments.inference.new_words import use_new_words
from lightning_modules.anomaly_module import AnomalyModule
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.gallery import INDEX, UNKNOWN, Gallery
from lightning_modules.nets.region_embedding import VIEWS, RegionEmbedding
from lightning_modules.segmentation_module import SegmentationModule

LOGGER = logging.getLogger(__name__)
PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
MOST_RUNNERS_UP = 3  # that a result lists
Labels = str | Sequence[str | Sequence[str]]
ImageLike = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True, slots=True)
class NamedInstance:
    """One connected defect: mask (H, W) bool; box in pixels as (x, y, width, height).

    runners_up: the next names, best first, and the share of the region's vote that each has.
    """

    name: str
    class_id: int
    score: float
    mask: np.ndarray
    box_xywh_px: tuple[int, int, int, int]
    runners_up: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What a model found in one image, as arrays and plain numbers at the image's own size.

    name: what the image shows, a defect's name or "good"; image_score: in [0, 1], high for
    defective; needs_review: too close to call, a person should look; instances: best first;
    names: by class id, "good" first; type_scores: (K+1,), summing to one; label_map: (H, W) int64
    class ids; anomaly_map: (H, W) float32 in [0, 1]; image: (H, W, 3) uint8, the input.
    """

    name: str
    image_score: float
    needs_review: bool
    instances: tuple[NamedInstance, ...]
    names: tuple[str, ...]
    type_scores: np.ndarray
    label_map: np.ndarray
    anomaly_map: np.ndarray
    image: np.ndarray

    def draw(self) -> np.ndarray:
        """The image with coloured regions, outlines, names and scores, (H, W, 3) uint8."""
        tags = [
            RegionTag(f"{one.name} {one.score:.2f}", one.class_id, one.box_xywh_px)
            for one in self.instances
        ]
        return draw_overlay(self.image, self.label_map, tags)


class Predictor:
    """Results for images, in the names that the stage was trained on or in others."""

    def __init__(self, stage: SegmentationModule, precision: str = "32") -> None:
        """stage: filled, in evaluation mode.

        precision: "32", or "bf16" or "16": then its frozen weights are kept in 16 bits, half the
        memory, and what tensor cores are for is computed in them. ValueError for another.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}: expected {', '.join(PRECISIONS)}")
        self._stage, self._dtype = stage, PRECISIONS[precision]
        if self._dtype != torch.float32:
            stage.store_frozen_in(self._dtype)
        self._trained = self._words
        self._has_labels = self._has_own_gallery = False
        self._labels: Labels | None = None
        self._embed: RegionEmbedding | None = None
        self.gallery: Gallery | None = None

    @property
    def _words(self) -> Vocabulary:
        assert self._stage.vocabulary is not None
        return self._stage.vocabulary

    @property
    def _by_example(self) -> NamesByExample | None:
        if self.gallery is None or self._embed is None:
            return None
        has_words = self._has_labels or self._has_own_gallery
        words = self._words if has_words else None
        right = trusted(self._words, self._stage, self._trained)
        return NamesByExample(self._embed, self.gallery, words, right)

    @property
    def vocabulary(self) -> Vocabulary:
        """The names of the last result, or of the training before any."""
        return self._by_example.vocabulary if self._by_example else self._words

    def use_examples(self, examples: str | Path | None, *, weights: str = ENCODER) -> None:
        """Names regions by examples from now on, beside the labels where some are given.

        examples: a folder of images/NAME/ and masks/, a manifest.parquet, of which the training
        images are taken, or a folder where `predictor.gallery` was saved; None: by words again.
        weights: of the encoder that compares. Raises FileNotFoundError or ValueError, one line.
        """
        self.gallery, self._has_own_gallery = None, False
        if examples is not None:
            self._embed = RegionEmbedding(weights).to(self._stage.device)
            find = self._find if self._stage.shapes_examples else None
            self.gallery = read_gallery(Path(examples), self._embed, find)

    def use_own_gallery(self, folder: Path) -> None:
        """Names by the gallery that came with the model too, beside its words or the labels."""
        self.use_examples(folder)
        # The one word of a system that knows no names would only be in their way.
        self._has_own_gallery = not isinstance(self._stage, AnomalyModule)

    def join_gallery(self, folder: Path) -> None:
        """Names by a saved gallery too, beside the words and what examples there are."""
        before = self.gallery
        self.use_own_gallery(folder)
        assert self.gallery is not None
        if before:
            self.gallery = before.grown(self.gallery.vectors)

    def add_example(self, image: ImageLike, mask: np.ndarray, name: str) -> None:
        """Names regions by one more example too from now on, beside words or the labels.

        mask: (H, W) bool, the region in the image. name: in any spelling. ValueError for a name
        that means good or "unknown", and a mask without a pixel or of another size;
        FileNotFoundError where the weights of the encoder that compares are missing.
        """
        if (known := defect_name(name)) in ("", UNKNOWN):
            raise ValueError(f"got an example of {name!r}: expected the name of a defect")
        if known in self._words.negatives:
            raise ValueError(f"the labels say 'not {known}': leave that out to give examples of it")
        pixels = to_tensor(read_pixels(image))
        region = torch.from_numpy(np.asarray(mask, dtype=bool))
        if region.shape != pixels.shape[1:] or not region.any():
            raise ValueError(
                f"got a mask {tuple(region.shape)} with {int(region.sum())} pixels, expected one "
                f"pixel or more of {tuple(pixels.shape[1:])}: mark the region in the image"
            )
        embed = self._embed or RegionEmbedding(ENCODER).to(self._stage.device)
        found = self._find(pixels).instances if self._stage.shapes_examples else ()
        vectors = {known: embed_example(pixels, region, embed, VIEWS, found)}
        gallery = self.gallery
        self._embed = embed
        self.gallery = gallery.grown(vectors) if gallery else Gallery(embed.fingerprint, vectors)
        if not gallery:
            self._has_own_gallery = not isinstance(self._stage, AnomalyModule)

    def use_labels(self, labels: Labels | None) -> None:
        """Predicts in these names from now on, None for those of the training.

        They are embedded only where they differ from the last ones. Raises ValueError for labels
        outside the grammar, and for others than its own where the stage has a closed list.
        """
        self._name_by(labels)
        self._labels = labels

    def _name_by(self, labels: Labels | None) -> None:
        vocabulary = self._trained if labels is None else read_labels(labels)
        self._has_labels = labels is not None
        if vocabulary != self._words:
            self._stage.set_vocabulary(vocabulary)
            if self._words != vocabulary:
                raise ValueError(
                    f"{type(self._stage).__name__} calls every defect {self._words.names[1]!r} and "
                    "reads no words: leave the labels out, it names by examples alone"
                )

    def look_at(self, images: Iterable[ImageLike]) -> None:
        """Shows all images to a stage that scores them among each other; others read none.

        What can't be read is left for `predict` to say. ValueError for too few of them.
        """

        def readable() -> Iterator[torch.Tensor]:
            for image in images:
                with suppress(ValueError, OSError):
                    yield to_tensor(read_pixels(image))

        with self._computing():
            self._stage.look_at(readable())

    @contextmanager
    def _computing(self) -> Iterator[None]:
        device, is_reduced = self._stage.device.type, self._dtype != torch.float32
        with torch.inference_mode(), torch.autocast(device, self._dtype, enabled=is_reduced):
            yield

    def _find(self, image: torch.Tensor) -> Prediction:
        with self._computing():
            return self._stage.predict_image(image)

    def predict(self, image: ImageLike, labels: Labels | None = None) -> Result:
        """The result for one image, at its own size.

        image: a file, a Pillow image, or (H, W) or (H, W, 3) uint8 pixels, red first. labels: as
        `read_labels` takes them, for this image; None for those of `use_labels`. Raises
        FileNotFoundError or ValueError, one line, for an image or labels that are none.
        """
        self._name_by(self._labels if labels is None else labels)
        pixels = read_pixels(image)
        found = self._find(to_tensor(pixels))
        if self._by_example:
            found = self._by_example.rename(to_tensor(pixels), found)
        names = self.vocabulary.names
        instances = [
            NamedInstance(
                names[one.class_id],
                one.class_id,
                one.score,
                one.mask.cpu().numpy(),
                one.box_xywh_px,
                tuple(
                    (names[class_id], share) for class_id, share in one.runners_up[:MOST_RUNNERS_UP]
                ),
            )
            for one in found.instances
        ]
        return Result(
            name=names[found.type_id],
            image_score=found.image_score,
            needs_review=found.needs_review,
            instances=tuple(instances),
            names=tuple(names),
            type_scores=found.type_scores.float().cpu().numpy(),
            label_map=found.label_map.cpu().numpy(),
            anomaly_map=found.anomaly_map.float().cpu().numpy(),
            image=pixels,
        )


def load_predictor(
    path: str | Path,
    *,
    device: str = "",
    naming: str = "",
    thresholds: str | Path = "",
    precision: str = "32",
) -> Predictor:
    """The predictor of a run directory, a .ckpt inside one, a release, or an .onnx or .xml in it.

    By a folder `gallery` in it, or beside such a file, regions are named too, beside words.

    device: "" for the first GPU where there is one, else the CPU; naming: "softmax" or
    "independent", "" for what the stage was trained with; thresholds: a thresholds.json, "" for
    the one beside the weights; precision: as `Predictor` takes it. Raises FileNotFoundError or
    ValueError, one line.
    """
    if is_exported(Path(path)):
        stage: SegmentationModule = open_exported(Path(path), device)
    else:
        stage = load_stage(Path(path))
    if naming:
        set_naming(stage, naming)
    if thresholds:
        stage.post_processing.calibrate(read_thresholds(Path(thresholds)))
    if (calibrated := stage.post_processing.points.naming) not in ("", stage.naming):
        LOGGER.warning(
            "the thresholds were chosen with naming %s and may not fit %s: "
            "python -m experiments.calibrate --naming %s chooses others",
            calibrated,
            stage.naming,
            stage.naming,
        )
    predictor = Predictor(stage.eval(), precision)
    on_device(stage, device or default_device())  # already in its precision: half of it to carry
    gallery = (Path(path).parent if is_exported(Path(path)) else Path(path)) / GALLERY
    if (gallery / INDEX).is_file():
        predictor.use_own_gallery(gallery)
    use_new_words(stage, Path(path))
    return predictor


def set_naming(stage: SegmentationModule, naming: str) -> None:
    """Scores names so from now on; ValueError where the stage or the word is none for that."""
    if not isinstance(stage, MaskFinetune):
        raise ValueError(
            f"naming is {naming!r}, and {type(stage).__name__} has a closed list of types: "
            "leave naming out, or use a stage 2"
        )
    stage.naming = naming


def read_labels(labels: Labels) -> Vocabulary:
    """The vocabulary of a typed list, or of a list of classes: names, or lists of synonyms.

    "crack; scratch, scuff; not shadow" and ["crack", ["scratch", "scuff"], "not shadow"] are one.
    """
    if isinstance(labels, str):
        return Vocabulary.parse(labels)
    parts = [part if isinstance(part, str) else ", ".join(part) for part in labels]
    for part in parts:
        if CLASS_MARK.search(part):
            raise ValueError(f"label {part!r} holds a ';': expected one class per item of the list")
    return Vocabulary.parse(";".join(parts))


def read_pixels(image: ImageLike) -> np.ndarray:
    """The image as a viewer shows it, (H, W, 3) uint8; FileNotFoundError or ValueError for none."""
    if isinstance(image, str | Path):
        return open_image(Path(image))
    if isinstance(image, Image.Image):
        if image.mode in (*WIDE_MODES, "F"):
            raise ValueError(
                f"got a Pillow image of mode {image.mode}, expected 8 bits: give its file, which "
                "is read with its full range"
            )
        turn = turn_of(image)
        image = np.asarray(image.convert("L" if image.mode in GREY_MODES else "RGB"))
        image = upright(image, turn)
    is_grey = image.ndim == 2
    if image.dtype != np.uint8 or not image.size or not (is_grey or image.shape[2:] == (3,)):
        raise ValueError(
            f"got pixels {image.shape} of {image.dtype}, expected (H, W) or (H, W, 3) of uint8: "
            "scale them to 0..255 and drop other channels"
        )
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if is_grey else np.ascontiguousarray(image)
