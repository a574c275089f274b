"""A vision-language model without training: asked for boxes of defects in words."""

import logging
from collections.abc import Sequence
from difflib import SequenceMatcher

import torch
from torch import Tensor
from torch.nn import functional

from datamodules.sample import GOOD_ID, Batch, Prediction
from datamodules.vocabulary import Vocabulary, good_names, normalise_name
from lightning_modules.evaluation import TASK
from lightning_modules.nets.box_answers import read_boxes, to_pixels
from lightning_modules.nets.box_prediction import Boxes, predict_from_boxes
from lightning_modules.nets.vision_language_model import VisionLanguageModel
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.weights_io import SavedStage

LOGGER = logging.getLogger(__name__)
SYSTEM = "You inspect industrial products."
QUESTION = (
    "List every defect of this {part_name} as JSON "
    '[{{"bbox_2d": [x1, y1, x2, y2], "label": "..."}}], where each label is one of: {names}. '
    "Return [] if there is none."
)


class VisionLanguage(SegmentationModule):
    """An image-text-to-text model of transformers by hub name or local folder, as it is.

    It sees each image whole and answers once; its boxes, filled, are the regions, the first one on
    top, whose type is the image's. A box whose label is none of the names that were asked for has
    the one that is spelt most alike; one that is said to be good, or what the vocabulary says is no
    defect, is left out. An answer that cannot be read counts as no defect and in
    `mask/test/parse_failures`. coordinates: as `VisionLanguageModel` takes it; part_name: the word
    for what the images show; most_tokens: of an answer.
    """

    stage = "vision_language"
    calibrates = False

    def __init__(
        self,
        pretrained: str = "Qwen/Qwen2.5-VL-7B-Instruct",
        coordinates: str = "",
        part_name: str = "product",
        most_tokens: int = 512,
    ) -> None:
        super().__init__(tile_px=1, tile_overlap_px=0, tile_batch_size=1)
        self.model = VisionLanguageModel(pretrained, coordinates)
        self.part_name, self.most_tokens = part_name, most_tokens
        self.parse_failures = 0

    def tags(self) -> dict[str, str]:
        """Which model, and in which units it says boxes."""
        return {
            "vision_language": self.model.pretrained,
            "coordinates": self.model.coordinates,
        }

    def load(self) -> None:
        """Reads the weights; ValueError in one line."""
        self.model.load()

    def restore(self, saved: SavedStage) -> None:
        """Reads the model's weights, of which a checkpoint holds none, then as any other."""
        self.load()
        super().restore(saved)

    def predict_images(self, images: Sequence[Tensor]) -> list[Prediction]:
        """The predictions for images (3, H, W) in [-1, 1] of any sizes, one answer for each."""
        assert self.vocabulary is not None
        names = ", ".join(self.vocabulary.names[1:])
        question = QUESTION.format(part_name=self.part_name, names=names)
        return [self.predict_by_words(image, question) for image in images]

    def predict_by_words(self, image: Tensor, question: str) -> Prediction:
        """The prediction for an image (3, H, W) from the answer to a question."""
        assert self.vocabulary is not None
        answer, units_wh = self.model.answer(
            image.to(self.device), SYSTEM, question, most_tokens=self.most_tokens
        )
        spoken = read_boxes(answer)
        if spoken is None:
            if not self.parse_failures:
                LOGGER.warning("an answer cannot be read and counts as no defect: %.200r", answer)
            self.parse_failures += 1
        height, width = image.shape[-2:]
        boxes, class_ids = [], []
        for one in spoken or ():
            box = to_pixels(one.corners, units_wh=units_wh, size_px=(height, width))
            class_id = class_of(one.label, self.vocabulary)
            if box is not None and class_id != GOOD_ID:
                boxes.append(box)
                class_ids.append(class_id - 1)
        found = Boxes(torch.tensor(boxes), torch.ones(len(boxes)), torch.tensor(class_ids))
        size_px, count = (height, width), len(self.vocabulary)
        return predict_from_boxes(found, size_px, count, self.post_processing, image.device)

    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (T, K, s, s) and answers (T, K+1) of images (T, 3, s, s), zero or one."""
        assert self.vocabulary is not None
        found = self.predict_images(list(tiles))
        ids = torch.stack([one.label_map for one in found])
        maps = functional.one_hot(ids, len(self.vocabulary))[..., 1:].movedim(-1, 1)
        return maps.float(), torch.stack([one.type_scores for one in found])

    def test_step(  # type: ignore[override]
        self, batch: Batch, batch_idx: int
    ) -> list[Prediction]:
        """As everywhere, and counts the answers that cannot be read."""
        before = self.parse_failures
        found = super().test_step(batch, batch_idx)
        failures = torch.tensor(float(self.parse_failures - before), device=self.device)
        self.log(
            f"{TASK}/test/parse_failures",
            failures,
            on_epoch=True,
            reduce_fx="sum",
            sync_dist=True,
            batch_size=1,
        )
        return found


def class_of(label: str, vocabulary: Vocabulary) -> int:
    """The class id that a label names: of the word itself, or of the defect's word most like it.

    0 for what means good and for the vocabulary's negatives.
    """
    name = normalise_name(label)
    if name in (*vocabulary.entries[0], *vocabulary.negatives) or name in good_names():
        return GOOD_ID
    words = [
        (SequenceMatcher(None, name, word).ratio(), -class_id)
        for class_id, words in enumerate(vocabulary.entries[1:], start=1)
        for word in words
    ]
    return -max(words)[1]
