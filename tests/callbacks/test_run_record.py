"""Claims about what a run record holds."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

from lightning import LightningDataModule
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from callbacks.run_record import RunRecord, git_state, parameter_counts
from datamodules.sample import Batch
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


class ToyData(LightningDataModule):
    """Toy batches with the hashes of a manifest."""

    index = SimpleNamespace(
        source="tiles",
        sha256="aa",
        split_sha256="bb",
        leaks=0,
        rows_of=lambda split: range({"train": 6, "val": 2, "test": 3}[split]),
    )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Four batches."""
        return toy_loader()


class NotingLogger(CSVLogger):
    """A logger that keeps tags and files in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tags: dict[str, str] = {}
        self.files: list[Path] = []
        self.data: list[tuple[str, str, dict[str, int]]] = []

    def log_tags(self, tags: dict[str, str]) -> None:
        """Keep the tags."""
        self.tags |= tags

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Keep the path."""
        self.files.append(path)

    def log_dataset(self, name: str, digest: str, counts: dict[str, int]) -> None:
        """Keep what is said of the data."""
        self.data.append((name, digest, counts))


def test_record_names_code_packages_data_and_parameters(tmp_path: Path) -> None:
    toy_trainer(tmp_path, [RunRecord()]).fit(ToyModule(), datamodule=ToyData())
    record = json.loads((tmp_path / "run_record.json").read_text())
    assert record["data"] == {
        "dataset": "tiles",
        "manifest_sha256": "aa",
        "split_sha256": "bb",
        "leaks": "0",
    }
    assert record["parameters"] == {
        "backbone": {"trainable": 0, "frozen": 12},
        "head": {"trainable": 4, "frozen": 0},
        "total": {"trainable": 4, "frozen": 12},
    }
    assert record["packages"]["torch"].startswith("2.")
    assert set(record["git"]) == {"commit", "dirty"}
    assert record["model"].endswith("ToyModule")


def test_tracker_gets_tags_and_file(tmp_path: Path) -> None:
    logger = NotingLogger(tmp_path)
    toy_trainer(tmp_path, [RunRecord()], logger=logger).fit(ToyModule(), datamodule=ToyData())
    assert logger.files == [tmp_path / "run_record.json"]
    assert logger.tags["parameters_trainable"] == "4"
    assert logger.tags["split_sha256"] == "bb"
    assert logger.data == [("tiles", "aa", {"train": 6, "val": 2, "test": 3})]


def test_test_without_training_is_recorded_too(tmp_path: Path) -> None:
    toy_trainer(tmp_path, [RunRecord()]).test(ToyModule(), toy_loader(1), verbose=False)
    assert json.loads((tmp_path / "run_record.json").read_text())["data"] == {}


def test_shared_weight_counts_once_in_the_total() -> None:
    module = ToyModule()
    module.twin = module.head
    assert parameter_counts(module)["total"] == {"trainable": 4, "frozen": 12}


def test_dirty_tree_is_told_from_a_clean_one(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    assert git_state(tmp_path)["dirty"] == "no"
    (tmp_path / "new.py").touch()
    assert git_state(tmp_path)["dirty"] == "yes"


def test_outside_of_a_repository_the_commit_is_unknown(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": "unknown", "dirty": "unknown"}
