"""The name that comes out is the one that was typed, through every door, normalised once."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from jsonargparse import Namespace
from PIL import Image
from rich.console import Console

from datamodules.captions import Caption
from datamodules.language.noun_phrases import NounPhrases
from datamodules.manifest import Manifest, Source
from datamodules.preparing.preparation import Preparation, prepare
from datamodules.sample import MaskValues
from datamodules.sources.coco import Coco
from datamodules.sources.merged import Merged
from datamodules.vocabulary import Vocabulary, defect_name, normalise_name
from experiments.checkpoints import read_thresholds
from experiments.cli import call_command
from experiments.config import full_key, load_config, parse_overrides, parse_stage, stage_parser
from experiments.generation.prompts import parse_prompt
from experiments.generation.views import type_in_words
from experiments.inference.inputs import InputImage, find_images
from experiments.inference.labelling_tools import (
    label_studio_tasks,
    write_cvat_labels,
    write_label_studio_interface,
)
from experiments.inference.result_files import coco_file, results_table
from experiments.predictor import NamedInstance, Result, read_labels
from experiments.prepare import build_source, report
from experiments.reporting.plan import plan_children
from experiments.run import run
from experiments.study import read_study
from experiments.tables import Table, print_table
from tests.families.named_sets import DOORS, NAMES, PLAIN, coco, folder_name, yolo_list

NOTHING = ("-", "_", "--", "\u200b", "\u2011", "\ufe0f", "－")
IGNORED = ("ignore", "__ignore__", "Void", "unlabeled", "don't care", "Don\u2019t_Care", "DontCare")
REMEDIES = (
    *("give it a name", "a defect's name", "expected the type of the defect"),
    *("without id or name", "expected class numbers from 0 with names"),
)
GOOD = ("good", "OK", "defect-free", "pass", "without_defect", "良品", "NORMAL", "_background_")


by_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)


def prepared(
    door: Callable[[Path, list[str]], Source], names: list[str], path: Path
) -> Preparation:
    """What becomes of a set with an image for each of the names."""
    return prepare(
        door(path / "raw", names), path / "raw", path / "out/m.parquet", max_bad_fraction=0.9
    )


def shown(manifest: Manifest) -> list[str]:
    """The types of the images by their number, "good" where there is none."""
    order = np.argsort([int(Path(image).stem) for image in manifest.column("image")])
    return manifest.types_of(order)


@by_door
def test_the_name_that_comes_out_is_the_one_that_was_typed(door, tmp_path):
    # A folder that begins with a dot is hidden, and its name must be printable.
    hidden = [name for name in NAMES if name.startswith(".") or not name.isprintable()]
    names = {k: v for k, v in NAMES.items() if door != folder_name or k not in hidden}
    done = prepared(door, list(names), tmp_path)
    assert not done.unusable
    manifest = Manifest.open(done.manifest.path)
    assert shown(manifest) == list(names.values())
    assert set(manifest.vocabulary.names) == {"good", *names.values()}
    assert all(manifest.vocabulary.id_of(typed) > 0 for typed in names)


@by_door
def test_what_the_controlled_vocabulary_calls_good_is_good_and_said(door, tmp_path):
    done = prepared(door, [*GOOD, "crack"], tmp_path)
    assert shown(done.manifest) == ["good"] * len(GOOD) + ["crack"]
    assert done.notes["'pass' was read as good"] == 1


def refusal(door: Callable[[Path, list[str]], Source], word: str, path: Path) -> str:
    """Why an image of this type is left out, or the whole set refused; two others stay."""
    path.mkdir()
    try:
        done = prepared(door, [word, "crack", "dent"], path)
    except ValueError as error:
        return str(error)
    assert shown(done.manifest) == ["crack", "dent"]
    return done.unusable[0].reason


@by_door
@pytest.mark.parametrize("words", [NOTHING, IGNORED], ids=["nothing", "ignored"])
def test_what_is_no_name_never_becomes_one(door, words, tmp_path):
    lines = [refusal(door, word, tmp_path / str(number)) for number, word in enumerate(words)]
    assert all(any(remedy in line for remedy in REMEDIES) for line in lines), lines
    assert not any("\n" in line for line in lines)


@by_door
def test_two_typed_names_that_meet_are_said(door, tmp_path):
    done = prepared(door, ["Crack", "crack_", "dent"], tmp_path)
    assert shown(done.manifest) == ["crack", "crack", "dent"]
    assert done.notes["'Crack' and 'crack_' are one type, 'crack'"] == 1


def test_a_class_list_that_names_one_class_twice_is_said(tmp_path):
    done = prepared(yolo_list, ["crack", "crack"], tmp_path)
    assert done.notes == {"several classes of one list are 'crack'": 1}


@pytest.mark.parametrize("name", ["true", "null", "1.5", "[]"])
def test_a_category_that_json_says_is_no_text_is_refused_and_a_number_is_text(name, tmp_path):
    coco(tmp_path, ["crack"])
    file = tmp_path / "annotations/instances.json"
    text = file.read_text()
    file.write_text(text.replace('"crack"', name))
    with pytest.raises(ValueError, match="category without id or name"):
        Coco().records(tmp_path)
    file.write_text(text.replace('"crack"', "7"))
    assert Coco().records(tmp_path)[0].defects == ("7",)


@pytest.mark.parametrize("typed", [name for name in NAMES if "," not in name])
def test_labels_are_read_as_they_are_typed(typed):
    vocabulary = Vocabulary.parse(f"{typed.replace('not ', 'not_')}；two，deux;")
    assert vocabulary.names[1:] == (NAMES[typed], "two")
    assert vocabulary.id_of("DEUX") == 2


@pytest.mark.parametrize("typed", GOOD)
def test_labels_know_the_same_words_for_good(typed):
    assert Vocabulary.parse(f"crack; {typed}").names == ("good", "crack")
    assert defect_name(typed) == ""


@pytest.mark.parametrize("word", NOTHING)
def test_labels_without_a_name_are_refused(word):
    with pytest.raises(ValueError, match="empty name"):
        Vocabulary.parse(f"crack; {word}; dent")


@pytest.mark.parametrize("name", [*NAMES, *GOOD])
def test_a_name_is_normalised_once(name):
    assert normalise_name(normalise_name(name)) == normalise_name(name)


def settings_of(words: dict[str, str], *configs: str) -> Namespace:
    """The run that a YAML config and words of the command line make together."""
    pairs = [part for key, word in words.items() for part in (f"--{key}", word)]
    return parse_stage(load_config(["quickstart_stage2.yaml", *configs], pairs))


def test_no_text_is_an_empty_text() -> None:
    settings = settings_of({"model.encoder": ""})
    assert settings.model.init_args.encoder == ""


TEXT_KEYS = ("name", "experiment", "output", "source.product", "source.annotations", "root")
GLOB = "*/_annotations.coco.json"


@pytest.mark.parametrize(
    "word", [*list(PLAIN)[::3], "null", "007", "Teil #5", "[y]", "{x}", "a: b", "~/x", "!v", GLOB]
)
def test_a_word_of_the_command_line_is_the_text_and_survives_the_config_of_its_run(word, tmp_path):
    stage = settings_of({"source": "coco"} | dict.fromkeys(TEXT_KEYS, word))
    assert {key: stage.get(full_key(key)) for key in TEXT_KEYS} == dict.fromkeys(TEXT_KEYS, word)
    (tmp_path / "config.yaml").write_text(
        stage_parser().dump(stage, format="yaml"), encoding="utf-8"
    )
    assert parse_stage(load_config([str(tmp_path / "config.yaml")])) == stage


LISTED = "[no, on, 007, 1:30, null, '7', 2026-11-28, 1e3]"


@pytest.mark.parametrize("is_file", [True, False], ids=["config", "command line"])
def test_names_in_lists_and_mappings_are_texts(is_file, tmp_path):
    key = "data.init_args.held_out_types"
    if is_file:
        file = tmp_path / "held_out.yaml"
        file.write_text(f"name: 007\ndata: {{init_args: {{held_out_types: {LISTED}}}}}\n")
        stage = settings_of({}, str(file))
        assert stage.name == "007"
    else:
        stage = settings_of({key: LISTED})
    names = ("no", "on", "007", "1:30", "null", "7", "2026-11-28", "1e3")
    assert tuple(stage.get(key)) == names
    assert build_source("csv", ["--source.mask_ids={no: 1, 007: 2, null: 3}"]).mask_ids == (
        MaskValues(1, 1, "no"),
        MaskValues(2, 2, "007"),
        MaskValues(3, 3, "null"),
    )


@pytest.mark.parametrize("word", NAMES)
def test_a_setting_of_prepare_is_the_text_that_was_typed(word):
    source = build_source("coco", ["--source.product", word, "--source.annotations", "*/a.json"])
    quoted = word.strip("'") if word[0] == word[-1] == "'" else word
    assert (source.maker.product, source.annotations) == (quoted, "*/a.json")


def test_a_study_hands_names_to_its_runs_as_they_are_written(tmp_path):
    held_out = f"data: {{init_args: {{labels: no, held_out_types: {LISTED}}}}}"
    (tmp_path / "s.yaml").write_text(
        f"base: [quickstart_stage2]\nvariants: {{a: {{settings: {{{held_out}}}}}}}\n"
    )
    (child,) = plan_children(read_study([str(tmp_path / "s.yaml")], ["--seeds", "[3]"])[0])
    pairs = parse_overrides([word for word in child.words if word != "--config"][1:])
    stage = settings_of(pairs)
    assert stage.data.init_args.labels == "no" and stage.seed == 3
    assert tuple(stage.data.init_args.held_out_types)[:4] == ("no", "on", "007", "1:30")


def test_what_print_config_prints_is_read_as_it_was_typed(tmp_path, capsys):
    typed = ["--name", "007", "--source", "coco", "--source.product", "Teil #5", "--seed", "3"]
    settings = ["--data.init_args.held_out_types", LISTED, "--source.material", "1:30"]
    words = ["--config", "quickstart_stage2", *typed, *settings]
    call_command(run, [*words, "--print_config"])
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["name"] == "007" and yaml.safe_load(printed)["seed"] == 3
    (tmp_path / "p.yaml").write_text(printed, encoding="utf-8")
    first = parse_stage(load_config([str(tmp_path / "p.yaml")]))
    assert first == parse_stage(load_config(words[1:2], words[2:]))


def test_thresholds_and_labels_in_python_meet_the_same_names(tmp_path):
    one = {"pixel_threshold": 0.3, "alarm_threshold": 0.2}
    image = {"threshold": 0.5, "review_low": 0.5, "review_high": 0.5}
    types = dict.fromkeys(["Ｐin_Hole", "Riß"], one)
    content = {"version": 2, "image": image, "default": one, "types": types}
    (tmp_path / "thresholds.json").write_text(json.dumps(content))
    assert [*read_thresholds(tmp_path / "thresholds.json").by_name] == ["pin hole", "riß"]
    assert read_labels(["007", ["no", "Pin-Hole"]]).names == ("good", "007", "no")
    with pytest.raises(ValueError, match="one class per item"):
        read_labels(["a；b"])


# " and " joins types in a caption, and what a caption denies is no defect of it.
UNSAYABLE = {"cut and fold", "no", "not soldered", "no. 5"}


@pytest.mark.parametrize("name", sorted({*NAMES.values()} - UNSAYABLE))
def test_a_type_is_found_again_in_captions(name):
    vocabulary = Vocabulary.from_names([name])
    caption = Caption("part", "steel", name, "the left")
    assert Caption.parse(caption.render()).defect == name
    assert parse_prompt(caption.render(), None).types == name
    assert type_in_words(caption.render(), vocabulary) == name
    assert NounPhrases(vocabulary).of(caption.render()).defects


ODD_FOLDERS = (
    "a #1",
    "{b}",
    "[c]",
    "~d",
    "*e",
    "&f",
    "!g",
    "%h",
    "@i",
    "j:k",
    "s?t",
    "null",
    "1e3",
)


@pytest.mark.parametrize("folder", ODD_FOLDERS)
def test_a_path_is_the_one_that_was_typed(folder, tmp_path, monkeypatch):
    root = tmp_path / folder
    coco(root, ["crack", "dent"])
    (root / "annotations/instances.json").rename(root / "annotations/a[1].json")
    source = build_source("coco", ["--source.annotations", "annotations/a[1].json"])
    assert len(source.records(root)) == 2
    monkeypatch.chdir(tmp_path)
    for place in (folder, f"{folder}/images/*/*.png", str(root / "images/train/[01].png")):
        assert len(find_images(place)[0]) == 2


def test_results_carry_the_names_to_every_tool_and_back(tmp_path):
    names = sorted({*NAMES.values()})
    vocabulary = Vocabulary.from_names(names)
    (tmp_path / "annotations").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    mask = np.ones((8, 8), bool)
    found = tuple(
        NamedInstance(name, number, 0.9, mask, (0, 0, 8, 8)) for number, name in enumerate(names, 1)
    )
    flat, scores = np.zeros((8, 8)), np.zeros(len(vocabulary))
    result = Result(names[0], 0.9, False, found, vocabulary.names, scores, flat, flat, flat)
    files = {name: tmp_path / name for name in ("answers.csv", "tasks.json", "cvat.json", "ls.xml")}
    with (
        coco_file(tmp_path / "annotations/a.json", vocabulary) as coco_results,
        results_table(files["answers.csv"]) as table,
        label_studio_tasks(files["tasks.json"], address="") as tasks,
    ):
        for add in (coco_results, table, tasks):
            add(InputImage("a", tmp_path / "a.png"), result)
    assert sorted(Coco().records(tmp_path)[0].defects) == names
    with files["answers.csv"].open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["answer"] == names[0] and sorted(row["defects"].split("; ")) == sorted(
        f"1 {name}" for name in names
    )
    (task,) = json.loads(files["tasks.json"].read_text())
    results = task["predictions"][0]["result"]
    assert [one["value"]["polygonlabels"][0] for one in results] == names
    write_cvat_labels(files["cvat.json"], vocabulary)
    assert [label["name"] for label in json.loads(files["cvat.json"].read_text())] == names
    write_label_studio_interface(files["ls.xml"], vocabulary)
    labels = ElementTree.fromstring(files["ls.xml"].read_text(encoding="utf-8")).iter("Label")
    assert [label.get("value") for label in labels] == names


def test_types_that_merged_manifests_call_by_one_name_are_said(tmp_path):
    for number, name in enumerate(("pin-hole", "pinholes")):
        prepared(coco, [name, "dent"], tmp_path / str(number))
    paths = [f"{number}/out/m.parquet" for number in range(2)]
    done = prepare(Merged(paths), tmp_path, tmp_path / "all/m.parquet", max_leftover_fraction=1)
    assert done.notes["'pin hole' and 'pinholes' are one type, 'pinhole'"] == 1


def test_tables_on_the_terminal_show_each_name(tmp_path, capsys):
    print_table(Table("of [red]", ("type", "[b]"), tuple((name, 1) for name in NAMES.values())))
    report(Console(width=120), prepared(coco, ["[y]", "[/z]", "[red]w"], tmp_path))
    printed = capsys.readouterr().out
    assert "of [red]" in printed and "[b]" in printed
    assert all(name in printed for name in (*NAMES.values(), "[y]", "[/z]", "[red]w"))
