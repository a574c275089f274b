"""The memory of stage 2 at the paper's scale, counted on shapes."""

from experiments.benchmarks.inference_memory import measure_batches


def test_image_of_512_px_takes_less_than_4_gb_at_16_bits() -> None:
    features, whole = measure_batches((1,))
    assert features.ours < features.reference
    assert 2.1 < whole.ours < 4.0
    assert whole.reference == 18.7
