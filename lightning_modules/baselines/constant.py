"""The floor under every figure: the same answer for each image, whatever it shows."""

import torch
from torch import Tensor

from datamodules.sample import Batch, Prediction
from lightning_modules.segmentation_module import SegmentationModule


class Constant(SegmentationModule):
    """Answers `type_name` for each image and all background for each pixel; learns nothing."""

    stage = "constant"

    def __init__(self, type_name: str = "good") -> None:
        super().__init__(tile_px=128, tile_overlap_px=0, tile_batch_size=64)
        self.type_name = type_name

    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of zeros and the one answer."""
        assert self.vocabulary is not None
        answer = tiles.new_zeros(len(tiles), len(self.vocabulary))
        answer[:, self.vocabulary.id_of(self.type_name)] = 1.0
        return tiles.new_zeros(len(tiles), len(self.vocabulary) - 1, *tiles.shape[-2:]), answer

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """One prediction per image, its type the constant one, no pixel marked."""
        predictions = super().predict_step(batch, batch_idx)
        assert self.vocabulary is not None
        for prediction in predictions:
            prediction.type_id = self.vocabulary.id_of(self.type_name)
            prediction.label_map = torch.zeros_like(prediction.label_map)
            prediction.instances = []
        return predictions
