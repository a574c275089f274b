"""Defects painted into a surface, each with the exact mask of the pixels that it changed.

Outlines come from `shapes.py`; a defect here is an outline, its paint, its sizes and its causes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.rendering import shapes
from datamodules.rendering.noise import fractal_noise, shading, smooth_noise

MIN_AREA_PX = 20
MAX_AREA_SHARE = 0.25
MAX_ATTEMPTS = 60

Shape = Callable[[np.random.Generator, int, float], np.ndarray]
Paint = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Defect:
    """A type of defect.

    shape and paint draw it; max_area_share: its largest part of the image; least_contrast: what
    is left of the paint's contrast at severity 0; look and causes: words for the caption.
    """

    name: str
    shape: Shape
    paint: Paint
    max_area_share: float
    least_contrast: float
    look: str
    causes: tuple[str, ...]


def add_defect(
    rng: np.random.Generator, image: np.ndarray, defect: Defect, *, severity: float
) -> tuple[np.ndarray, np.ndarray]:
    """The surface with one defect, and its mask (H, W) bool of MIN_AREA_PX to a quarter of it.

    image: (H, W, 3) float32 in [0, 1]; severity: 0 for barely visible to 1 for full contrast.
    """
    size_px = image.shape[0]
    largest = defect.max_area_share * size_px**2
    # Small sizes are as frequent as large ones: areas are drawn evenly on a logarithmic scale.
    area_px = float(np.exp(rng.uniform(np.log(1.4 * MIN_AREA_PX), np.log(largest))))
    for _ in range(MAX_ATTEMPTS):
        coverage = defect.shape(rng, size_px, area_px)
        mask = coverage >= 0.5
        if MIN_AREA_PX <= mask.sum() <= MAX_AREA_SHARE * mask.size:
            break
        area_px *= 1.15 if mask.sum() < MIN_AREA_PX else 0.85
    else:
        raise AssertionError(f"no {defect.name} fitted into {size_px} px")
    painted = defect.paint(rng, image, coverage)
    # The mask is exact: outside of it, even half-covered rim pixels keep the bare surface.
    contrast = defect.least_contrast + (1 - defect.least_contrast) * severity
    strength = contrast * np.where(mask, np.clip(1.4 * coverage, 0, 1), 0)
    blended = image + strength[..., None].astype(np.float32) * (painted - image)
    return np.clip(blended, 0, 1).astype(np.float32), mask


def paint_scratch(rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """A bright furrow with a dark flank, or a dark one on a bright surface."""
    light = 1.3 * shading(2.5 * coverage, light_angle=rng.uniform(0, np.pi))[..., None]
    tone = 0.90 if image.mean() < 0.5 or rng.random() < 0.3 else 0.22
    return 0.35 * image + 0.65 * tone + 0.5 * light


def paint_crack(rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """A gap that lets almost no light back."""
    depth = 0.10 + 0.05 * smooth_noise(rng, image.shape[0], cell_px=6)
    return image * np.clip(depth, 0.02, 0.25)[..., None]


def paint_hole(rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """A dark pit with a lit far wall."""
    depth_px = _distance_to_rim(coverage)
    deepest = max(float(depth_px.max()), 1.0)
    wall = np.clip(1.2 * depth_px / min(deepest, 5.0), 0, 1)
    rim = shading(np.minimum(depth_px, 4.0), light_angle=rng.uniform(0.5, 1.1))
    dark = image * (0.55 - 0.50 * wall)[..., None]
    return dark + 0.30 * np.clip(rim, -0.3, 1)[..., None] * (1 - 0.6 * wall)[..., None]


def paint_stain(rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """A dried liquid: tinted, cloudy, with a darker rim."""
    tints = ((0.62, 0.44, 0.24), (0.30, 0.26, 0.24), (0.50, 0.56, 0.34), (0.58, 0.24, 0.18))
    tint = np.array(tints[rng.integers(len(tints))])
    rim = np.exp(-_distance_to_rim(coverage) / 2.5)
    cloud = fractal_noise(rng, image.shape[0], cell_px=image.shape[0] / 6)
    thickness = np.clip(0.62 + 0.16 * cloud + 0.30 * rim, 0.35, 0.95)[..., None]
    soaked = image * (0.35 + 0.65 * tint) if image.mean() > 0.3 else 0.4 * image + 0.75 * tint
    return image + thickness * (soaked * 0.88 - image)


def paint_dent(rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """The same surface pushed in: bent, dark on the near side and bright on the far side."""
    depth_px = _distance_to_rim(coverage)
    deepest = max(float(depth_px.max()), 1.0)
    depth_px = cv2.GaussianBlur(depth_px, (0, 0), max(0.7, deepest / 4)) * (depth_px > 0)
    steepness = 1.1 * min(deepest, 9.0)
    bowl = steepness * (0.5 - 0.5 * np.cos(np.pi * np.clip(depth_px / deepest, 0, 1)))
    bowl = bowl.astype(np.float32)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    pull_down = 1.5 * cv2.Sobel(bowl, cv2.CV_32F, 0, 1, ksize=3) / 8
    pull_across = 1.5 * cv2.Sobel(bowl, cv2.CV_32F, 1, 0, ksize=3) / 8
    bent = cv2.remap(
        image,
        columns + pull_across,
        rows + pull_down,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    light = shading(bowl, light_angle=rng.uniform(0.4, 1.2))[..., None]
    return bent * (1 + 0.9 * np.clip(light, -0.9, 1)) + 0.28 * np.clip(light, 0, 1)


def paint_missing_part(
    rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    """The bench seen where a piece has broken off, with the lit face of the fracture."""
    size_px = image.shape[0]
    bench = np.array([0.10, 0.10, 0.115]) * rng.uniform(0.6, 1.5)
    below = bench * (1 + 0.12 * fractal_noise(rng, size_px, cell_px=size_px / 8))[..., None]
    face_px = rng.uniform(0.018, 0.035) * size_px
    depth_px = _distance_to_rim(coverage) + 0.6 * smooth_noise(rng, size_px, cell_px=5)
    face = np.clip(1.5 - depth_px / face_px, 0, 1)[..., None]
    broken = image.mean(axis=(0, 1)) * 0.75 + 0.14
    grain = 1 + 0.16 * rng.standard_normal((size_px, size_px, 1))
    shadow = np.clip(depth_px / (3.5 * face_px), 0.45, 1)[..., None]
    return face * broken * grain + (1 - face) * below * shadow


def paint_inclusion(
    rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    """Grains of a foreign material, rusty, pale or black, with facets of their own."""
    colors = ((0.52, 0.26, 0.10), (0.88, 0.84, 0.72), (0.07, 0.07, 0.08))
    distances = [abs(np.mean(color) - image.mean()) for color in colors]
    choices = np.flatnonzero(np.array(distances) > 0.15)
    color = np.array(colors[rng.choice(choices if choices.size else [int(np.argmax(distances))])])
    relief = shading(
        1.8 * np.minimum(_distance_to_rim(coverage), 3), light_angle=rng.uniform(0, 6.3)
    )
    grain = 1 + 0.14 * smooth_noise(rng, image.shape[0], cell_px=2.5)
    return color * grain[..., None] + 0.30 * relief[..., None]


def paint_fray(rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Loose fibres over their own shadow, in the colour of the surface."""
    color = image[coverage >= 0.5].mean(axis=0)
    fibre = np.clip((coverage - 0.6) / 0.4, 0, 1)[..., None]
    tone = 1 + 0.22 * smooth_noise(rng, image.shape[0], cell_px=3)
    lit = np.clip((color * 0.8 + 0.28) * tone[..., None], 0, 1)
    return fibre * lit + (1 - fibre) * (0.35 * image + 0.1 * color)


DEFECTS = (
    Defect("scratch", shapes.strokes, paint_scratch, 0.06, 0.4, "straight and shallow",
           ("contact with a hard edge", "a handling tool", "abrasive dust on the conveyor")),
    Defect("crack", shapes.branches, paint_crack, 0.07, 0.5, "jagged and branching",
           ("mechanical overload", "thermal stress", "fatigue")),
    Defect("hole", shapes.disc, paint_hole, 0.08, 0.75, "deep with a sharp rim",
           ("trapped gas", "a punching error", "impact of a pointed object")),
    Defect("stain", shapes.ragged_blob, paint_stain, MAX_AREA_SHARE, 0.45, "cloudy with a dark rim",
           ("spilled coolant", "oil residue", "incomplete cleaning")),
    Defect("dent", shapes.smooth_blob, paint_dent, 0.18, 0.5, "pushed in with an unbroken surface",
           ("a blow with a blunt object", "a dropped tool", "excessive clamping force")),
    Defect("missing part", shapes.edge_chunk, paint_missing_part, MAX_AREA_SHARE, 0.92,
           "broken off at the border",
           ("breakage during handling", "a faulty assembly step", "brittle fracture")),
    Defect("inclusion", shapes.specks, paint_inclusion, 0.05, 0.5, "angular foreign grains",
           ("contaminated raw material", "debris in the process", "slag carried along")),
    Defect("fray", shapes.fringe, paint_fray, MAX_AREA_SHARE, 0.6, "loose fibrous ends",
           ("a dull cutting blade", "repeated rubbing", "wear at the border")),
)  # fmt: skip


def _distance_to_rim(coverage: np.ndarray) -> np.ndarray:
    """The distance of each covered pixel to the shape's rim in pixels; 0 outside.

    The image's border is no rim: a shape that leaves the image goes on behind it.
    """
    return cv2.distanceTransform((coverage >= 0.5).astype(np.uint8), cv2.DIST_L2, 5)
