"""Warnings that every run of ours earns, and that would hide those which mean something."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# What Lightning says of any run like ours: frozen parts evaluate on purpose, and the data is read
# by the process itself at tiny scale.
EXPECTED_WARNINGS = (
    ".*LeafSpec.*",
    "Found .* module.s. in eval mode",
    ".*does not have many workers",
    ".*number of training batches .* is smaller than the logging interval",
    # A sharded image tower of timm; its answer is not written to.
    ".*returned a view tensor.*",
    # Validation metrics are reduced already; training losses are the first process's own.
    ".*sync_dist=True.*",
)


@contextmanager
def expected_warnings_hidden() -> Iterator[None]:
    """Hides what Lightning says of any run like ours."""
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
