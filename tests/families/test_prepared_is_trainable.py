"""What prepare accepts trains a step, validates and tests, or is one line before any training."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from lightning import Trainer

from datamodules.imdd import IMDDDataModule
from datamodules.manifest import Manifest
from experiments.calibrate import calibrate
from experiments.cli import call_command
from experiments.compare import compare
from experiments.config import load_config, parse_stage
from experiments.predict import predict
from experiments.prepare import prepare
from experiments.run import run
from experiments.train import calibrate_and_test, expected_warnings_hidden, prepare_stage
from lightning_modules.baselines.constant import Constant
from tests.datamodules.sources import public_layouts
from tests.experiments.refused import refused
from tests.experiments.small_run import (
    SMALL,
    SMALL_MASKS,
    SMALL_SAMPLES,
    small_config,
    words_of,
)
from tests.families.degenerate_sets import WRITERS, Part, mask_of

C, D = ("crack",), ("dent",)
NONE_TRAINS = "training images shows a defect, expected some.* thirds"
NEVER = "show dent \\(3\\), training never: .*held_out_types '\\[dent\\]'"


@dataclass(frozen=True, slots=True)
class Case:
    """A set, and the line that refuses it: in any stage, or in one that finds masks."""

    parts: list[Part]
    refused: str = ""
    without_masks: bool = True


def some(count: int, types: tuple[str, ...] | None = (), how: str = "mask", split: str = ""):
    return [Part(types, how, split)] * count


def split_in(train: list[Part], val: list[Part], test: list[Part]) -> list[Part]:
    """The parts, each in its split."""
    chosen = {"train": train, "val": val, "test": test}
    return [Part(p.types, p.how, split, p.size_px) for split, ps in chosen.items() for p in ps]


SIZES = [(1, 60), (60, 1), (16, 16), (100, 30), (8, 200), (3, 3), (1, 1), (40, 50)]
GOOD, CRACKS, DENTS = some(3), some(3, C), some(3, D)
MANY = [Part(tuple(f"kind {k}" for k in range(s, s + 20)), "box") for s in [*range(0, 300, 20)] * 4]
NO_VAL, NO_TRAIN = "has no val images among", "has no train images among"
CASES = {
    "only good": Case(some(12), NONE_TRAINS),
    "only defects": Case(some(12, C)),
    "no masks": Case(some(6, C, "image") + some(6, (), "image")),
    "only types": Case(some(12, C, "image")),
    "blank masks": Case(some(6, C, "blank") + some(6, (), "blank")),
    "one class": Case(some(6, C) + some(6)),
    "one image": Case(some(1, C), f"{NO_VAL} 1: give val_fraction", False),
    "two images": Case(some(1, C) + some(1), f"{NO_VAL} 2: .* three groups of a type", False),
    "three images": Case(some(3, C)),
    "mixed sizes": Case([Part(t, size_px=size) for t in (C, ()) for size in SIZES]),
    "only boxes": Case(some(12, C, "box")),
    "unlabelled": Case(some(12, None), f"{NO_TRAIN} 12 \\(12 are unlabelled: say", False),
    "one of them good": Case(some(12, None) + some(1), f"{NO_VAL} 13 \\(12 are unlab", False),
    "no train": Case(split_in([], CRACKS, CRACKS), f"{NO_TRAIN} 6: .*'groups'", False),
    "no val": Case(split_in(CRACKS + GOOD, [], CRACKS + GOOD)),
    "no test": Case(split_in(CRACKS, GOOD, []), "has no test images among 6"),
    "type in test alone": Case(split_in(CRACKS, CRACKS, DENTS), NEVER),
    "type in val alone": Case(split_in(CRACKS, DENTS, CRACKS), NEVER),
    "good in test alone": Case(split_in(CRACKS, CRACKS, CRACKS + GOOD)),
    "defects in test alone": Case(split_in(GOOD, GOOD, CRACKS + GOOD), NONE_TRAINS),
    "defects in val alone": Case(split_in(GOOD, CRACKS, GOOD), NONE_TRAINS),
    "defects in train alone": Case(split_in(CRACKS, GOOD, GOOD)),
    "300 classes": Case(MANY),
}
# The table says all there is to say of an image; of the other formats what they say otherwise.
ELSEWHERE = {
    "folder": ("only good", "no masks", "blank masks", "mixed sizes", "one image"),
    "coco": ("only good", "no masks", "only boxes", "unlabelled", "type in test alone"),
    "yolo": ("only good", "only boxes", "unlabelled", "mixed sizes", "no train"),
    "labelme": ("only good", "no masks", "only boxes", "one of them good", "no val"),
}
CHOSEN = [("csv", case) for case in CASES] + [(s, c) for s, cs in ELSEWHERE.items() for c in cs]


def prepared(folder: Path, source: str, parts: list[Part], *words: str) -> Path:
    """The manifest that the command makes of the parts in the source's format."""
    WRITERS[source](folder / "raw", parts)
    return prepared_of(folder, source, *words)


def prepared_of(folder: Path, source: str, *words: str) -> Path:
    line = ["--source", source, "--root", folder / "raw", "--out", folder / "out", "--workers", "1"]
    assert call_command(prepare, [str(word) for word in [*line, *words]]) == 0
    return folder / "out" / "manifest.parquet"


def words_for(stage: int, manifest: Path, *more: str) -> list[str]:
    """The quickstart's stage on a manifest, at its smallest."""
    own = SMALL_SAMPLES if stage == 1 else {"pretrained": "random", **SMALL_MASKS}
    place = {"manifest": manifest, "output": manifest.parent / "mlruns"}
    short = {"data.init_args.draws_per_epoch": 4}
    return [*words_of(place | SMALL | own | short), *more]


def train_one_step(stage: int, manifest: Path, *more: str) -> dict[str, float]:
    """The figures of a validation and a test after one step; ValueError before it for a refusal."""
    words = words_for(stage, manifest, *more)
    objects = prepare_stage(parse_stage(load_config([small_config(f"stage{stage}")], words)))
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    try:
        with expected_warnings_hidden(), warnings.catch_warnings(action="ignore"):
            trainer = Trainer(
                max_steps=1,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                default_root_dir=manifest.parent,
            )
            trainer.fit(objects.model, objects.data)
            return calibrate_and_test(trainer, objects.model, objects.data, None)
    except ValueError as error:
        raise AssertionError("refused after training had begun") from error


@pytest.mark.parametrize(("source", "name"), CHOSEN, ids=[f"{s}-{n}" for s, n in CHOSEN])
def test_set_trains_or_is_refused_before_training(source: str, name: str, tmp_path: Path) -> None:
    case = CASES[name]
    manifest = prepared(tmp_path, source, case.parts)
    for stage in (1, 2):
        if case.refused and (stage == 2 or not case.without_masks):
            with pytest.raises(ValueError, match=case.refused) as caught:
                train_one_step(stage, manifest)
            assert "\n" not in str(caught.value)
        else:
            assert train_one_step(stage, manifest)


@pytest.mark.parametrize("source", ["mvtec_ad", "visa"])
def test_set_with_good_training_parts_says_how_it_trains_and_then_does(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "raw"
    getattr(public_layouts, f"write_{source}")(root)
    for number in range(2, 6):  # enough for a validation split
        normal = f"candle/Data/Images/Normal/000{number}.JPG"
        place = normal if source == "visa" else f"grid/train/good/00{number}.png"
        public_layouts.save(root / place, public_layouts.texture(number + 30))
        if source == "visa":
            with (root / "split_csv/1cls.csv").open("a") as table:
                table.write(f"candle,train,normal,{normal},\n")
    manifest = prepared_of(tmp_path, source, "--max_alike_fraction", "1")
    assert "no stage 2 trains on this" in capsys.readouterr().out
    with pytest.raises(ValueError, match=NONE_TRAINS):
        train_one_step(2, manifest)
    manifest = prepared_of(tmp_path, source, "--max_alike_fraction", "1", "--protocol", "thirds")
    assert "no stage 2" not in capsys.readouterr().out
    assert train_one_step(2, manifest)


@pytest.mark.parametrize(
    ("values", "words", "types"),
    [
        ((0, 1), (), ["good", "defect"]),
        (
            (0, 1, 2),
            ("--source.mask_ids", "{crack: 1, dent: 2, hole: 3}"),
            ["crack", "dent", "hole"],
        ),
        ((0, 0), (), []),
    ],
)
def test_table_with_masks_alone_trains_by_all_names_that_it_can_show(
    values: tuple[int, ...], words: tuple[str, ...], types: list[str], tmp_path: Path
) -> None:
    parts = some(18, None)
    WRITERS["csv"](tmp_path / "raw", parts)
    rows = ["image,mask"]
    for number in range(len(parts)):
        mask = mask_of(Part(C)) // 255 * values[number % len(values)]
        public_layouts.save(tmp_path / f"raw/masks/{number:03}.png", mask)
        rows.append(f"{number:03}.png,masks/{number:03}.png")
    (tmp_path / "raw/records.csv").write_text("\n".join(rows) + "\n")
    manifest = prepared_of(tmp_path, "csv", *words)
    assert set(types) <= set(Manifest.open(manifest).vocabulary.names)
    assert train_one_step(1, manifest)
    if types:
        assert train_one_step(2, manifest)


def test_type_that_training_never_sees_is_tested_where_somebody_asks(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, "csv", CASES["type in test alone"].parts)
    results = train_one_step(2, manifest, "--data.init_args.held_out_types", "[dent]")
    assert "mask/test/iou_type/dent" in results


def test_types_of_a_set_that_is_left_out_are_asked_for(tmp_path: Path) -> None:
    for name, types in (("a", C), ("b", D)):
        prepared(tmp_path / "raw" / name, "csv", split_in(some(3, types), some(3, types), GOOD))
    sets = "[a/out/manifest.parquet, b/out/manifest.parquet]"
    words = ("--source.manifests", sets, "--source.leave_out", "csv@b/raw")
    assert train_one_step(2, prepared_of(tmp_path, "merged", *words))


def test_whole_images_of_several_sizes_make_no_batch(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, "csv", CASES["mixed sizes"].parts)
    with pytest.raises(ValueError, match=r"sizes .* make no batch of 4: .*eval_batch_size to 1"):
        train_one_step(2, manifest, "--data.init_args.eval_batch_size=4")


def test_test_that_so_many_processes_cannot_share_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(IMDDDataModule, "_rank", lambda _: (0, 2))
    monkeypatch.setattr(Trainer, "fit", lambda *_, **__: pytest.fail("it trains"))
    manifest = prepared(tmp_path, "csv", split_in(CRACKS, CRACKS, some(1, C)))
    words = ["--config", small_config("stage2"), *words_for(2, manifest)]
    assert "1 images to evaluate for 2 processes" in refused(run, *words)


def test_data_without_any_defect_has_nothing_to_look_for(tmp_path: Path) -> None:
    data = IMDDDataModule(manifest=str(prepared(tmp_path, "csv", some(12))))
    data.setup()
    with pytest.raises(ValueError, match="the data names no defect, expected some"):
        Constant().set_vocabulary(data.vocabulary)


def test_commands_take_what_came_of_a_set_without_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    manifest = prepared(tmp_path, "csv", CASES["only types"].parts)
    output = manifest.parent / "mlruns"
    assert call_command(run, ["--config", small_config("stage2"), *words_for(2, manifest)]) == 0
    made = ["--checkpoint", str(output / "runs" / "quickstart_stage2")]
    assert call_command(calibrate, [*made, "--objective", "recall=0.95"]) == 0
    shown = ["--images", str(tmp_path / "raw"), "--out", str(tmp_path / "found")]
    assert call_command(predict, [*made, *shown]) == 0
    assert call_command(compare, ["--experiment", "quickstart", "--output", str(output)]) == 0
