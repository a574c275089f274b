"""The figures of the notebooks: what a set holds, what each stage sees and answers.

Figures are returned, never shown. What a training draws is in `callbacks`.
"""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, islice, zip_longest

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.drawing import draw_overlay, pixels_of
from datamodules.imdd import IMDDDataModule
from datamodules.sample import Sample
from datamodules.sampler import Draw
from experiments.predictor import ImageLike, Predictor
from lightning_modules.equations.diffusion import add_noise, remove_noise
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.diffusion_features import DiffusionFeatures, shared_noise
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition

CELL_IN = 2.2
TITLE_LETTERS = 34
SHEET_COLUMNS = 4
TIMES = (1, 50, 200, 500, 900)
FEATURE_TIMES = (10, 50, 200, 700)


def image_rows(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    titles: Sequence[Sequence[str]],
    labels: Sequence[str] = (),
) -> Figure:
    """A figure with a row per item of `rows`; images: (H, W, 3) uint8 or (H, W) in [0, 1].

    titles: over each image, "" for none; labels: beside each row.
    """
    columns = max(map(len, rows))
    size = (CELL_IN * columns, (CELL_IN + 0.5) * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, (axes, images) in enumerate(zip(grid, rows, strict=True)):
        for one in axes:
            one.set(xticks=[], yticks=[])
        for one in axes[len(images) :]:
            one.axis("off")
        for one, image, title in zip(axes, images, titles[row], strict=False):
            one.imshow(image, cmap="gray" if image.ndim == 2 else None)
            one.set_title(textwrap.fill(title, TITLE_LETTERS), fontsize=7)
        if labels:
            axes[0].set_ylabel(labels[row], fontsize=8)
    return figure


def caption_sheet(data: IMDDDataModule, count: int = 8) -> Figure:
    """Training crops of all types with the outlines of their masks, each under its caption."""
    dataset = data.training_dataset()
    return _sheet(dataset[Draw(row, 0)] for row in rows_of_all_types(data, count))


def augmented_sheet(data: IMDDDataModule, row: int, count: int = 8) -> Figure:
    """One image as training sees it, turn after turn: what moves takes its words along."""
    dataset = data.training_dataset()
    return _sheet(dataset[Draw(row, turn)] for turn in range(count))


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


def rows_of_all_types(data: IMDDDataModule, count: int) -> list[int]:
    """Training rows, the types in turn."""
    rows = data.division.rows_of("train")
    by_type: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in zip(rows.tolist(), data.index.types_of(rows), strict=True):
        by_type[name].append(row)
    turns = chain.from_iterable(zip_longest(*by_type.values()))
    return list(islice((row for row in turns if row is not None), count))


@torch.no_grad()
def noise_ladder(model: DiffusionModel, images: Tensor, times: Sequence[int] = TIMES) -> Figure:
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
    rows = [
        [pixels_of(step[place]) for step in side]
        for place in range(len(images))
        for side in (noised, cleaned)
    ]
    above = ["image", *(f"t = {time}" for time in times)]
    below = ["through the autoencoder", *("guessed from it" for _ in times)]
    return image_rows(rows, titles=[above, below] * len(images))


@torch.no_grad()
def feature_maps(
    stage: MaskFinetune, image: Tensor, times: Sequence[int] = FEATURE_TIMES
) -> Figure:
    """The U-Net's finest and coarsest maps of image (3, H, W) at each t, in three main colours."""
    rows: list[list[np.ndarray]] = [[pixels_of(image)], [pixels_of(image)]]
    for time in times:
        maps = DiffusionFeatures(stage.features.diffusion, time, "unet")(image[None])
        by_width = sorted(maps, key=lambda one: one.shape[-1])
        rows[0].append(main_colours(by_width[-1][0]))
        rows[1].append(main_colours(by_width[0][0]))
    titles = ["image", *(f"t = {time}" for time in times)]
    return image_rows(rows, titles=[titles, titles], labels=("finest map", "coarsest map"))


@torch.no_grad()
def mask_evolution(stage: MaskFinetune, image: Tensor, queries: int = 3) -> Figure:
    """The masks of the queries that find most in image (3, H, W), from layer to layer."""
    outputs = stage.find_masks(image[None])
    scores = stage.score_rule.score_names(stage.name_masks(outputs)[-1].float())[0]
    assert stage.vocabulary is not None
    rows, titles = [], []
    for query in scores.amax(-1).topk(queries).indices.tolist():
        layers = outputs.masks[:, 0, query].sigmoid()
        rows.append([pixels_of(image), *(layer.cpu().numpy() for layer in layers)])
        name = stage.vocabulary.names[1 + int(scores[query].argmax())]
        said = [f"layer {layer}" for layer in range(len(layers))]
        titles.append([f"{name} {float(scores[query].max()):.2f}", *said])
    return image_rows(rows, titles=titles)


def main_colours(features: Tensor) -> np.ndarray:
    """Features (C, h, w) as an image (h, w, 3) in [0, 1] of their three principal components."""
    flat = features.flatten(1).T.float()
    flat = flat - flat.mean(0)
    directions = torch.linalg.svd(flat, full_matrices=False).Vh[:3]
    colours = (flat @ directions.T).unflatten(0, features.shape[1:])
    low, high = colours.amin((0, 1)), colours.amax((0, 1))
    return ((colours - low) / (high - low).clamp(min=1e-6)).cpu().numpy()


def word_sheet(predictor: Predictor, images: Sequence[ImageLike], lists: Sequence[str]) -> Figure:
    """A row per image, a column per list of labels, with the answer over each."""
    results = [[predictor.predict(image, labels) for labels in lists] for image in images]
    return image_rows(
        [[result.draw() for result in row] for row in results],
        titles=[
            [
                f"asked: {labels}  answer: {result.name} {result.image_score:.2f}"
                for labels, result in zip(lists, row, strict=True)
            ]
            for row in results
        ],
    )


def _sheet(samples: Iterable[Sample]) -> Figure:
    """Samples in rows of four."""
    shown = [
        (draw_overlay(pixels_of(one.image), one.mask.numpy(), []), one.caption) for one in samples
    ]
    places = range(0, len(shown), SHEET_COLUMNS)
    rows = [shown[at : at + SHEET_COLUMNS] for at in places]
    return image_rows(
        [[image for image, _ in row] for row in rows],
        titles=[[caption for _, caption in row] for row in rows],
    )
