"""The paper's own figures, as fractions and milliseconds, each with the place where it stands.

Its accuracy is `type_accuracy` and its IoU `iou_image` (NOTES 20). Where the paper does not say
under which setting a figure was measured, nothing of ours can stand beside it (NOTES 22).
"""

from experiments.comparing.paper_tables import UNSTATED, PaperFigure

ACCURACY, IOU, F1, MILLISECONDS = "type_accuracy", "iou_image", "f1_image", "latency_ms"
MVTEC, VISA = "mvtec_ad", "visa"


def _of(source: str, setting: str, data: str, **values: float) -> dict[str, PaperFigure]:
    return {name: PaperFigure(value, source, setting, data) for name, value in values.items()}


def _timestep(iou: float, accuracy: float, milliseconds: float) -> dict[str, PaperFigure]:
    values = {IOU: iou, ACCURACY: accuracy, MILLISECONDS: milliseconds}
    return _of("Table 1", UNSTATED, MVTEC, **values)


def _category(accuracy: float, f1: float, iou: float) -> dict[str, PaperFigure]:
    return _of("Table 5", "budget_200", MVTEC, **{ACCURACY: accuracy, F1: f1, IOU: iou})


# Table 1: by timestep. It does not say on which data; the text is of MVTec AD throughout.
TIMESTEPS = {
    10: _timestep(0.289, 0.557, 57.0),
    30: _timestep(0.476, 0.823, 169.0),
    50: _timestep(0.554, 0.945, 275.0),
    70: _timestep(0.555, 0.946, 392.0),
    100: _timestep(0.552, 0.944, 553.0),
}

# Table 4, at inference on an A100.
COST = {
    "latency_ms": PaperFigure(350.0, "Table 4", UNSTATED, ""),
    "images_per_s": PaperFigure(2.86, "Table 4", UNSTATED, ""),
    "memory_gb": PaperFigure(18.7, "Table 4", UNSTATED, ""),
}

# Table 5: the three categories that it lists of ten, and its average over the ten.
CATEGORIES = {
    "grid": _category(0.9432, 0.678, 0.612),
    "leather": _category(0.9367, 0.652, 0.597),
    "cable": _category(0.8970, 0.568, 0.514),
    "average": _category(0.9199, 0.6148, 0.5571),
}

# Table 6: trained on, tested on.
TRANSFER = {
    (MVTEC, VISA): _of("Table 6", "zero_shot", VISA, **{ACCURACY: 0.832, IOU: 0.413}),
    ("imdd_1m", MVTEC): _of("Table 6", "zero_shot", MVTEC, **{ACCURACY: 0.910, IOU: 0.529}),
    ("imdd_1m", VISA): _of("Table 6", "zero_shot", VISA, **{ACCURACY: 0.903, IOU: 0.547}),
}

# Table 7: samples that 95 % accuracy takes, by pre-training.
SAMPLES_FOR_95 = {
    "random": PaperFigure(1850.0, "Table 7", UNSTATED, ""),
    "imagenet": PaperFigure(520.0, "Table 7", UNSTATED, ""),
    "ours": PaperFigure(150.0, "Table 7", UNSTATED, ""),
}

# Section 6.2: the U-Net's start, mIoU.
INITIALISATION = {
    "random": PaperFigure(0.827, "section 6.2", UNSTATED, ""),
    "stable_diffusion": PaperFigure(0.745, "section 6.2", UNSTATED, ""),
}

# The main paper's ablation of components.
COMPONENTS = {
    "full": _of("component ablation", UNSTATED, "", **{ACCURACY: 0.910, IOU: 0.529}),
    "no_implicit_text": _of("component ablation", UNSTATED, "", **{ACCURACY: 0.862, IOU: 0.492}),
    "no_grounding": _of("component ablation", UNSTATED, "", **{ACCURACY: 0.883, IOU: 0.498}),
    "no_condition": _of("component ablation", UNSTATED, "", **{ACCURACY: 0.840, IOU: 0.467}),
}

# Section 6.3.
STATISTICS = {
    "kappa_types": PaperFigure(0.87, "section 6.3", "full", "imdd_1m"),
    "kappa_masks": PaperFigure(0.81, "section 6.3", "full", "imdd_1m"),
    "top10_share": PaperFigure(0.474, "section 6.3", "full", "imdd_1m"),
    "rare_share": PaperFigure(0.526, "section 6.3", "full", "imdd_1m"),
}
