"""The top floor: commands, configuration, tracking, tables."""

import os

# MLflow and albumentations call home when they are imported; a measurement must not.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# OpenMP's threads spin while they wait for each other, which a busy neighbour turns into training
# several times slower. It reads this once, when torch is imported: this package comes before.
if "GOMP_SPINCOUNT" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
