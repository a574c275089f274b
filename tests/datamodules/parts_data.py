"""The DataModule over small parts on disk (`conftest.py`), as several test files need it."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from datamodules.imdd import IMDDDataModule
from datamodules.manifest import Source
from datamodules.sample import Record


class Parts(Source):
    """The parts that were written before."""

    name: ClassVar[str] = "parts"

    def __init__(self, records: list[Record]) -> None:
        self.given = records

    def records(self, root: Path) -> list[Record]:
        if not root.is_dir():
            raise FileNotFoundError(f"parts root {root} is missing: expected the parts")
        return self.given


MakeData = Callable[..., IMDDDataModule]


def ready(data: IMDDDataModule) -> IMDDDataModule:
    data.prepare_data()
    data.setup()
    return data
