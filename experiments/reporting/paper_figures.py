"""The paper's own figures, as fractions and milliseconds, each with the place where it stands.

Its accuracy is `type_accuracy` and its IoU `iou_image`. Where the paper does not say under which
setting a figure was measured, nothing of ours can stand beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

UNSTATED = "unstated"
ACCURACY, IOU, F1, MILLISECONDS = "type_accuracy", "iou_image", "f1_image", "latency_ms"
MVTEC, VISA = "mvtec_ad", "visa"


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One number of the paper in the unit of ours, its place, and what it was measured on.

    setting: zero_shot, k_shot_K (of each type), budget_N (in all), full, or UNSTATED.
    """

    value: float
    source: str
    setting: str
    data: str

    def fits(self, setting: str, data: str) -> bool:
        """Whether a figure of ours may stand beside it."""
        return (setting, data) == (self.setting, self.data)


Figures = Mapping[str, PaperFigure]


def _of(source: str, setting: str, data: str, **values: float) -> Figures:
    return {name: PaperFigure(value, source, setting, data) for name, value in values.items()}


def _timestep(iou: float, accuracy: float, milliseconds: float) -> Figures:
    values = {IOU: iou, ACCURACY: accuracy, MILLISECONDS: milliseconds}
    return _of("Table 1", UNSTATED, MVTEC, **values)


def _category(accuracy: float, f1: float, iou: float) -> Figures:
    return _of("Table 5", "budget_200", MVTEC, **{ACCURACY: accuracy, F1: f1, IOU: iou})


def _transfer(test: str, accuracy: float, iou: float) -> Figures:
    return _of("Table 6", "zero_shot", test, **{ACCURACY: accuracy, IOU: iou})


def _component(accuracy: float, iou: float) -> Figures:
    return _of("component ablation", UNSTATED, "", **{ACCURACY: accuracy, IOU: iou})


# The tables, by the names of their rows: those of our variants.
PAPER: Mapping[str, Mapping[str, Figures]] = {
    # It does not say on which data; the text is of MVTec AD throughout. Its times grow with t as
    # only passes one after the other do.
    "table_1": {
        "sequential_t10": _timestep(0.289, 0.557, 57.0),
        "sequential_t30": _timestep(0.476, 0.823, 169.0),
        "sequential_t50": _timestep(0.554, 0.945, 275.0),
        "sequential_t70": _timestep(0.555, 0.946, 392.0),
        "sequential_t100": _timestep(0.552, 0.944, 553.0),
    },
    # At inference on an A100.
    "table_4": {
        "A100": _of("Table 4", UNSTATED, "", latency_ms=350.0, images_per_s=2.86, memory_gb=18.7)
    },
    # The three categories that it lists of ten, and its average over the ten.
    "table_5": {
        "grid": _category(0.9432, 0.678, 0.612),
        "leather": _category(0.9367, 0.652, 0.597),
        "cable": _category(0.8970, 0.568, 0.514),
        "average": _category(0.9199, 0.6148, 0.5571),
    },
    # Trained on, tested on.
    "table_6": {
        f"{MVTEC}_to_{VISA}": _transfer(VISA, 0.832, 0.413),
        f"imdd_1m_to_{MVTEC}": _transfer(MVTEC, 0.910, 0.529),
        f"imdd_1m_to_{VISA}": _transfer(VISA, 0.903, 0.547),
    },
    # Samples that 95 % accuracy takes, by pre-training.
    "table_7": {
        "random": _of("Table 7", UNSTATED, "", samples=1850.0),
        "imagenet": _of("Table 7", UNSTATED, "", samples=520.0),
        "ours": _of("Table 7", UNSTATED, "", samples=150.0),
    },
    # The U-Net's start, mIoU.
    "section_6_2": {
        "random": _of("section 6.2", UNSTATED, "", **{IOU: 0.827}),
        "stable_diffusion": _of("section 6.2", UNSTATED, "", **{IOU: 0.745}),
    },
    "section_6_3": {
        "imdd_1m": _of(
            *("section 6.3", "full", "imdd_1m"),
            kappa_types=0.87,
            kappa_masks=0.81,
            top10_share=0.474,
            rare_share=0.526,
        )
    },
    # The main paper's ablation.
    "components": {
        "full": _component(0.910, 0.529),
        "no_implicit_text": _component(0.862, 0.492),
        "no_grounding": _component(0.883, 0.498),
        "no_condition": _component(0.840, 0.467),
    },
}
