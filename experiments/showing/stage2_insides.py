"""Stage 2 between a picture and its masks: features at several t, masks from layer to layer."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.drawing import pixels_of
from experiments.showing.picture_rows import picture_rows
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.diffusion_features import DiffusionFeatures

COLOURS = 3


@torch.no_grad()
def feature_maps(
    stage: MaskFinetune, image: Tensor, times: Sequence[int] = (10, 50, 200, 700)
) -> Figure:
    """The U-Net's finest and coarsest maps of image (3, H, W) at each t, in three main colours."""
    diffusion, taps = stage.features.diffusion, "unet"
    rows: list[list[np.ndarray]] = [[pixels_of(image)], [pixels_of(image)]]
    for time in times:
        maps = DiffusionFeatures(diffusion, time, taps)(image[None])
        by_width = sorted(maps, key=lambda one: one.shape[-1])
        rows[0].append(main_colours(by_width[-1][0]))
        rows[1].append(main_colours(by_width[0][0]))
    titles = ["image", *(f"t = {time}" for time in times)]
    return picture_rows(rows, titles=[titles, titles], labels=("finest map", "coarsest map"))


@torch.no_grad()
def mask_evolution(stage: MaskFinetune, image: Tensor, queries: int = 3) -> Figure:
    """The masks of the queries that find most in image (3, H, W), from layer to layer."""
    outputs = stage.find_masks(image[None])
    logits = stage.name_masks(outputs)
    assert stage.vocabulary is not None
    names = stage.score_rule.score_names(logits[-1].float())[0]
    best = names.amax(-1).topk(queries).indices.tolist()
    rows, titles = [], []
    for query in best:
        layers = outputs.masks[:, 0, query].sigmoid()
        rows.append([pixels_of(image), *(layer.cpu().numpy() for layer in layers)])
        name = stage.vocabulary.names[1 + int(names[query].argmax())]
        said = [f"layer {layer}" for layer in range(len(layers))]
        titles.append([f"{name} {float(names[query].max()):.2f}", *said])
    return picture_rows(rows, titles=titles)


def main_colours(features: Tensor) -> np.ndarray:
    """Features (C, h, w) as a picture (h, w, 3) in [0, 1] of their three principal components."""
    flat = features.flatten(1).T.float()
    flat = flat - flat.mean(0)
    directions = torch.linalg.svd(flat, full_matrices=False).Vh[:COLOURS]
    colours = (flat @ directions.T).unflatten(0, features.shape[1:])
    low, high = colours.amin((0, 1)), colours.amax((0, 1))
    return ((colours - low) / (high - low).clamp(min=1e-6)).cpu().numpy()
