"""The name that comes out is the one that was typed, through every door, normalised once."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonargparse import Namespace
from PIL import Image

from datamodules.captions import Caption
from datamodules.language.noun_phrases import NounPhrases
from datamodules.manifest import Manifest, Source
from datamodules.preparing.preparation import Preparation, prepare
from datamodules.sample import MaskValues
from datamodules.sources.coco import Coco
from datamodules.sources.csv import Csv
from datamodules.sources.folder import Folder
from datamodules.sources.labelme import Labelme
from datamodules.sources.yolo import Yolo
from datamodules.vocabulary import Vocabulary, defect_name, normalise_name
from experiments.checkpoints import read_thresholds
from experiments.cli import call_command
from experiments.config import full_key, load_config, parse_overrides, parse_stage, stage_parser
from experiments.generation.prompts import parse_prompt
from experiments.generation.views import type_in_words
from experiments.inference.inputs import find_images
from experiments.predictor import read_labels
from experiments.prepare import build_source
from experiments.reporting.plan import plan_children
from experiments.run import run
from experiments.study import read_study

# As it is typed -> as it is shown. None of these in YAML needs quotes.
PLAIN = {
    **{word: word for word in ("on", "yes", "true", "010", "007", "1")},
    **{"NO": "no", "1_2": "1 2", "1:30": "1:30", "null": "null", "~": "~", "NA": "na"},
    **{"2026-11-28": "2026 11 28", "1e3": "1e3", ".inf": ".inf", "NaN": "nan", "0x1F": "0x1f"},
    **{"False": "false", "n": "n", "12.50": "12.50", "0o7": "0o7", "=": "=", "<<": "<<"},
}
SIGNS = {
    **{"Teil #5": "teil #5", "a+b": "a+b", "c++": "c++", "50 %": "50 %", "{x}": "{x}"},
    **{"[y]": "[y]", "&z": "&z", "*w": "*w", "!v": "!v", "@u": "@u", "a: b": "a: b", "'q'": "'q'"},
    **{"ﬁssure": "fissure", "ｆｕｌｌ　１": "full 1", "Riß": "riß", "İz": "i̇z", "划痕": "划痕"},
    **{"Трещина": "трещина", "キズ": "キズ", "ｷｽﾞ2": "キズ2", "crack\u00a0two": "crack two"},
    **{"pin\u2010hole": "pin hole", "__init__": "init", "cut and fold": "cut and fold"},
    **{"crack, deep": "crack, deep", "  edge  ": "edge", "zero\u200bwidth": "zerowidth"},
    **{"🔥\ufe0f": "🔥", "not soldered": "not soldered", "no. 5": "no. 5"},
}
NAMES = PLAIN | SIGNS
NOTHING = ("-", "_", "--", "\u200b", "\u2011", "\ufe0f", "－")
IGNORED = ("ignore", "__ignore__", "Void", "unlabeled", "don't care", "Don\u2019t_Care")
REMEDIES = (
    *("give it a name", "a defect's name", "expected the type of the defect"),
    *("without id or name", "expected class numbers from 0 with names"),
)
GOOD = ("good", "OK", "defect-free", "pass", "without_defect", "良品", "NORMAL", "_background_")


def write_images(root: Path, names: list[str], place: str = "images/train/{}.png") -> list[str]:
    """An image for each name, none like another; their paths below the root."""
    paths = [place.format(number, name) for number, name in enumerate(names)]
    rng = np.random.default_rng(0)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(root / path)
    return paths


def yaml_word(name: str) -> str:
    """The name as a person would type it in YAML: in quotes only where it must be."""
    return name if name in PLAIN else json.dumps(name, ensure_ascii=False)


def write_yolo(root: Path, names: list[str], listed: str) -> Source:
    for number, path in enumerate(write_images(root, names)):
        label = (root / path.replace("images", "labels")).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{number} 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text(f"train: images/train\nval: null\nnames: {listed}\n")
    return Yolo()


def yolo_list(root: Path, names: list[str]) -> Source:
    return write_yolo(root, names, f"[{', '.join(map(yaml_word, names))}]")


def yolo_mapping(root: Path, names: list[str]) -> Source:
    lines = "".join(f"\n  {number}: {yaml_word(name)}" for number, name in enumerate(names))
    return write_yolo(root, names, lines)


def coco(root: Path, names: list[str]) -> Source:
    paths = write_images(root, names)
    content = {
        "images": [{"id": n, "file_name": path} for n, path in enumerate(paths, 1)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": n, "bbox": [4, 4, 8, 8]}
            for n in range(1, len(names) + 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
    }
    (root / "annotations").mkdir()
    (root / "annotations/instances.json").write_text(json.dumps(content))
    return Coco()


def write_labelme(root: Path, names: list[str], said: Callable[[str], dict[str, object]]) -> Source:
    for path, name in zip(write_images(root, names), names, strict=True):
        content = {"imagePath": Path(path).name, "imageHeight": 32, "imageWidth": 32, "shapes": []}
        (root / path).with_suffix(".json").write_text(json.dumps(content | said(name)))
    return Labelme()


def labelme_shape(root: Path, names: list[str]) -> Source:
    corners = [[4, 4], [9, 4], [9, 9]]
    return write_labelme(root, names, lambda name: {"shapes": [{"label": name, "points": corners}]})


def labelme_flag(root: Path, names: list[str]) -> Source:
    return write_labelme(root, names, lambda name: {"flags": {name: True}})


def csv_type(root: Path, names: list[str]) -> Source:
    quoted = (name.replace('"', '""') for name in names)
    rows = [f'{p},"{name}"' for p, name in zip(write_images(root, names), quoted, strict=True)]
    (root / "records.csv").write_text("\n".join(["image,type", *rows]) + "\n")
    return Csv()


def csv_mask_ids(root: Path, names: list[str]) -> Source:
    rows = ["image,mask"]
    for number, path in enumerate(write_images(root, names)):
        (root / "masks").mkdir(exist_ok=True)
        mask = np.zeros((32, 32), np.uint8)
        mask[4:9, 4:9] = number + 1
        Image.fromarray(mask).save(root / f"masks/{number}.png")
        rows.append(f"{path},masks/{number}.png")
    (root / "records.csv").write_text("\n".join(rows))
    return Csv(mask_ids={name: number for number, name in enumerate(names, 1)})


def folder_name(root: Path, names: list[str]) -> Source:
    write_images(root, names, "images/{1}/{0}.png")
    return Folder()


def labels_table(root: Path, names: list[str]) -> Source:
    paths = [Path(path).name for path in write_images(root, names, "images/{}.png")]
    rows = [f'{p},"{name}"' for p, name in zip(paths, names, strict=True)]
    (root / "labels.csv").write_text("\n".join(["image,type", *rows]))
    return Folder()


DOORS = (
    *(yolo_list, yolo_mapping, coco, labelme_shape, labelme_flag),
    *(csv_type, csv_mask_ids, folder_name, labels_table),
)
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
