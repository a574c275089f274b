"""The top floor: commands, configuration, tracking, tables."""

import os

# MLflow and albumentations call home when they are imported; a measurement must not.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
