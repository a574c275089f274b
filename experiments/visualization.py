"""The images of the notebooks: what a set holds, what each stage sees and answers.

They are returned, never shown. What a training draws is in `callbacks`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from callbacks.drawing import Panel, draw_grid, draw_overlay, pixels_of, resize_image, scale_to_fit
from datamodules.imdd import IMDDDataModule
from datamodules.sample import Sample
from datamodules.sampler import Draw
from datamodules.splits import spread_over_types
from experiments.predictor import ImageLike, Predictor
from lightning_modules.equations.diffusion import add_noise, remove_noise
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.diffusion_features import DiffusionFeatures, shared_noise
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition

SIDE_PX = 180
TIMES = (1, 50, 200, 500, 900)
FEATURE_TIMES = (10, 50, 200, 700)


def image_grid(
    images: Iterable[np.ndarray], captions: Iterable[str], *, columns: int = 4
) -> Image.Image:
    """Images (H, W, 3) uint8 row by row, each with its caption below."""
    panels = [
        Panel(resize_image(image, scale_to_fit(image, SIDE_PX)), caption)
        for image, caption in zip(images, captions, strict=True)
    ]
    return Image.fromarray(draw_grid(panels, columns=columns))


def caption_sheet(data: IMDDDataModule, count: int = 8) -> Image.Image:
    """Training crops of all types with the outlines of their masks, each over its caption."""
    dataset = data.training_dataset()
    return _sheet([dataset[Draw(row, 0)] for row in rows_of_all_types(data, count)])


def augmented_sheet(data: IMDDDataModule, row: int, count: int = 8) -> Image.Image:
    """One image as training sees it, turn after turn: what moves takes its words along."""
    dataset = data.training_dataset()
    return _sheet([dataset[Draw(row, turn)] for turn in range(count)])


def rows_of_all_types(data: IMDDDataModule, count: int) -> list[int]:
    """Training rows, spread over all types."""
    rows = data.division.rows_of("train")
    return [int(row) for row in spread_over_types(rows, data.index.types_of(rows), count)]


def type_counts(data: IMDDDataModule) -> Figure:
    """How many images of each type are in each split, most frequent first."""
    splits = ("train", "val", "test")
    counts = {split: Counter(data.index.types_of(data.division.rows_of(split))) for split in splits}
    names = [name for name, _ in sum(counts.values(), Counter[str]()).most_common()]
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    bottom = np.zeros(len(names))
    for split, found in counts.items():
        heights = np.array([found[name] for name in names])
        axes.bar(names, heights, bottom=bottom, label=split)
        bottom += heights
    axes.tick_params(axis="x", rotation=45)
    axes.set_ylabel("images")
    axes.legend()
    return figure


@torch.no_grad()
def noise_ladder(
    model: DiffusionModel, images: Tensor, times: Sequence[int] = TIMES
) -> Image.Image:
    """Two rows per image (B, 3, H, W): noised to each time (eq. 2), and cleaned from it at once.

    The denoiser reads each image's pseudo-caption.
    """
    z_0 = model.encode(images)
    eps = shared_noise(z_0).expand_as(z_0)
    condition = implicit_condition(model.caption(images))
    noised, cleaned = [images], [model.autoencoder.decode(z_0)]
    for time in times:
        t = torch.full((len(images),), time, device=images.device)
        z_t = add_noise(z_0, eps, t, model.schedule.alpha_bar)
        said = model.denoiser(z_t, t, condition.tokens, condition.mask)
        guess = remove_noise(z_t, said, t, model.schedule.alpha_bar)
        noised.append(model.autoencoder.decode(z_t))
        cleaned.append(model.autoencoder.decode(guess))
    above = ["image", *(f"t = {time}" for time in times)]
    below = ["through the autoencoder", *("guessed from it" for _ in times)]
    steps = torch.stack([*noised, *cleaned], dim=1).flatten(0, 1)
    return image_grid(map(pixels_of, steps), (above + below) * len(images), columns=len(above))


@torch.no_grad()
def feature_maps(
    stage: MaskFinetune, image: Tensor, times: Sequence[int] = FEATURE_TIMES
) -> Image.Image:
    """The U-Net's finest and coarsest maps of image (3, H, W) at each t, in three main colours."""
    finest, coarsest = [pixels_of(image)], [pixels_of(image)]
    for time in times:
        maps = DiffusionFeatures(stage.features.diffusion, time, "unet")(image[None])
        by_width = sorted(maps, key=lambda one: one.shape[-1])
        finest.append(main_colours(by_width[-1][0]))
        coarsest.append(main_colours(by_width[0][0]))
    captions = [
        words
        for kind in ("finest", "coarsest")
        for words in ("image", *(f"{kind} map, t = {time}" for time in times))
    ]
    return image_grid([*finest, *coarsest], captions, columns=len(finest))


@torch.no_grad()
def mask_evolution(stage: MaskFinetune, image: Tensor, queries: int = 3) -> Image.Image:
    """The masks of the queries that find most in image (3, H, W), from layer to layer."""
    outputs = stage.find_masks(image[None])
    scores = stage.score_rule.score_names(stage.name_masks(outputs)[-1].float())[0]
    assert stage.vocabulary is not None
    images: list[np.ndarray] = []
    captions: list[str] = []
    for query in scores.amax(-1).topk(queries).indices.tolist():
        layers = outputs.masks[:, 0, query].sigmoid()
        images += [pixels_of(image), *(pixels_of(one.expand(3, -1, -1) * 2 - 1) for one in layers)]
        name = stage.vocabulary.names[1 + int(scores[query].argmax())]
        captions.append(f"{name} {float(scores[query].max()):.2f}")
        captions += [f"layer {layer}" for layer in range(len(layers))]
    return image_grid(images, captions, columns=len(outputs.masks) + 1)


def main_colours(features: Tensor) -> np.ndarray:
    """Features (C, h, w) as an image (h, w, 3) uint8 of their three principal components."""
    flat = features.flatten(1).T.float()
    flat = flat - flat.mean(0)
    directions = torch.linalg.svd(flat, full_matrices=False).Vh[:3]
    colours = (flat @ directions.T).unflatten(0, features.shape[1:])
    low, high = colours.amin((0, 1)), colours.amax((0, 1))
    return ((colours - low) / (high - low).clamp(min=1e-6) * 255).byte().cpu().numpy()


def word_sheet(
    predictor: Predictor, images: Sequence[ImageLike], lists: Sequence[str]
) -> Image.Image:
    """A row per image, a column per list of labels, with the answer below each."""
    results = [(labels, predictor.predict(image, labels)) for image in images for labels in lists]
    return image_grid(
        [result.draw() for _, result in results],
        [
            f"asked: {labels}  answer: {result.name} {result.image_score:.2f}"
            for labels, result in results
        ],
        columns=len(lists),
    )


def _sheet(samples: Sequence[Sample]) -> Image.Image:
    """Samples with their masks over their captions."""
    return image_grid(
        [draw_overlay(pixels_of(one.image), one.mask.numpy(), []) for one in samples],
        [one.caption for one in samples],
    )
