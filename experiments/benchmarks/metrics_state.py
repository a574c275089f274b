"""Bytes that metrics keep after many images: ours do not grow, exact curves keep every pixel."""

from collections.abc import Callable, Sequence

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC

from experiments.measuring.measurements import BenchSettings, Measurement
from experiments.measuring.scored_scenes import ScoredScenes, scored_scenes
from lightning_modules.evaluation import Evaluation
from lightning_modules.metrics.anomaly import AnomalyMetrics

VERB = "metrics"
SIDE_PX, IMAGES = 256, 24
SPLIT = "test"
# What exact curves would keep of VisA: 2,162 test images at 512 px, a score and a label a pixel.
VISA_PIXELS, EXACT_BYTES_A_PIXEL = 2_162 * 512**2, 4 + 8


def measure(settings: BenchSettings) -> list[Measurement]:
    """KB of the anomaly metrics, and of all that an evaluation has, beside an exact curve."""
    few, many = (scored_scenes(count, side_px=SIDE_PX) for count in (1, IMAGES))
    return [
        compare_states("anomaly metrics", anomaly_bytes, few, many),
        compare_states("all metrics of an evaluation", evaluation_bytes, few, many),
    ]


def anomaly_bytes(scenes: ScoredScenes) -> int:
    """What AnomalyMetrics keeps after these scenes."""
    metric = AnomalyMetrics()
    metric.update(scenes.predictions, scenes.batch)
    return state_bytes([metric])


def evaluation_bytes(scenes: ScoredScenes) -> int:
    """What all metrics of a split keep after these scenes."""
    evaluation = Evaluation(("good", "crack"))
    evaluation.count(SPLIT, scenes.predictions, scenes.batch)
    counters = evaluation.counters[SPLIT].modules()
    return state_bytes([counter for counter in counters if isinstance(counter, Metric)])


def exact_bytes(scenes: ScoredScenes) -> int:
    """What torchmetrics' exact pixel AUROC keeps after these scenes."""
    metric = BinaryAUROC(thresholds=None)
    metric.update(scenes.scores, scenes.is_defect.long())
    return state_bytes([metric])


def state_bytes(metrics: Sequence[Metric]) -> int:
    """Bytes of all states, lists of tensors too."""
    states = [state for metric in metrics for state in metric.metric_state.values()]
    tensors = [one for state in states for one in (state if isinstance(state, list) else [state])]
    return sum(one.nbytes for one in tensors if isinstance(one, Tensor))


def compare_states(
    name: str, keep: Callable[[ScoredScenes], int], few: ScoredScenes, many: ScoredScenes
) -> Measurement:
    """KB after many images; how many times that of few images either side keeps is in settings."""
    ours, exact = keep(many), exact_bytes(many)
    return Measurement(
        f"state: {name}, beside torchmetrics' exact pixel AUROC",
        ours / 1e3,
        exact / 1e3,
        f"KB, {len(many.predictions)} images",
        exact / ours,
        None,
        {
            "px": many.is_defect.shape[-1],
            "ours grew": ours / keep(few),
            "exact grew": exact / exact_bytes(few),
            "exact on VisA GB, computed": VISA_PIXELS * EXACT_BYTES_A_PIXEL / 1e9,
        },
    )
