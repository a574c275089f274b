"""The controlled vocabulary: its table, its spellings, and what sentences name."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from datamodules.language.released_captions import read_release
from datamodules.language.terminology import COLUMNS, KINDS, Term, Terminology
from datamodules.vocabulary import normalise_name

LOCATED_TYPES = (
    *("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven"),
    *("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches"),
    *("open", "short", "mousebite", "spur", "copper", "pin-hole"),
    *("broken", "hot_spot", "black_border", "no_electricity"),
)
# MVTec AD, VisA, Real-IAD's codes, WM-811K, GC10-DET, welds, aircraft.
OTHER_LABELS = (
    *("broken_large", "bent_wire", "cut_inner_insulation", "poke_insulation", "combined", "color"),
    *("faulty_imprint", "metal_contamination", "thread", "pill_type", "manipulated_front", "flip"),
    *("scratch_neck", "glue_strip", "gray_stroke", "oil", "cut_lead", "fabric_border", "liquid"),
    *("chunk of wax missing", "different colour spot", "foreign particals on candle", "extra"),
    *("same colour spot", "small chip around edge", "corner and edge breakage", "wrong place"),
    *("AK", "BX", "CH", "HS", "PS", "QS", "YW", "ZW"),
    *("Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Near-full", "Scratch", "Random"),
    *("crescent_gap", "silk_spot", "rolled_pit", "waist_folding", "bite-edge", "paint-off"),
)
PRODUCTS = (
    *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill"),
    *("screw", "tile", "toothbrush", "transistor", "wood", "zipper", "candle", "capsules"),
    *("cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pcb1", "pcb4", "pipe_fryum"),
    *("audiojack", "bottle_cap", "button_battery", "end_cap", "eraser", "fire_hood", "mint"),
    *("mounts", "pcb", "phone_battery", "plastic_nut", "plastic_plug", "porcelain_doll", "toy"),
    *("regulator", "rolled_strip_base", "sim_card_set", "switch", "tape", "terminalblock"),
    *("toy_brick", "transistor1", "u_block", "usb", "usb_adaptor", "vcpill", "wooden_beads"),
    "woodstick",
)


@pytest.fixture(scope="module")
def terms() -> Terminology:
    return Terminology.load()


def write_terms(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    return path


def names(found: list[Term]) -> list[str]:
    return [term.name for term in found]


def test_the_table_holds_many_terms_of_every_kind(terms):
    assert len({(term.kind, term.name) for term in terms.terms}) == len(terms.terms) >= 520
    assert {term.kind for term in terms.terms} == set(KINDS)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("scratches", "scratch"),
        ("MT_Blowhole", "blowhole"),
        ("pin-hole", "pinhole"),
        ("rolled-in_scale", "rolled in scale"),
        ("mouse bite", "mouse bite"),
        ("copper", "spurious copper"),
        ("broken spandex.", "broken spandex"),
        ("  Hot   SPOT", "hot spot"),
        ("划痕", "scratch"),
        ("スクラッチ", "scratch"),
        ("discolouration", "discoloration"),
    ],
)
def test_spellings_lead_to_the_canonical_name(terms, text, name):
    assert terms.normalise(text, "defect") == name


def test_the_located_types_are_as_many_terms(terms):
    found = {terms.normalise(label, "defect") for label in LOCATED_TYPES}
    assert len(found) == len(LOCATED_TYPES) == 21


@pytest.mark.parametrize("label", LOCATED_TYPES + OTHER_LABELS)
def test_labels_of_public_sets_are_known_defects(terms, label):
    assert terms.find(label, "defect") is not None


@pytest.mark.parametrize("label", PRODUCTS)
def test_objects_of_public_sets_are_known_products(terms, label):
    assert terms.find(label, "product") is not None


def test_types_in_real_annotations_are_known(terms, shared_data):
    paths = [*shared_data.glob("neu_det/**/*.xml"), *shared_data.glob("pv_multi_defect/**/*.xml")]
    labels = {str(name.text) for path in paths for name in ElementTree.parse(path).iter("name")}
    assert len(labels) >= 11
    assert [label for label in labels if terms.find(label, "defect") is None] == []


def test_every_label_of_the_released_captions_is_known(terms, shared_data):
    rows = read_release(shared_data / "imdd1m_release")
    labels = {("defect", name) for row in rows for name in row.defects}
    assert len(labels) > 30
    assert [(kind, name) for kind, name in labels if terms.find(name, kind) is None] == []


def test_every_spelling_leads_back_to_its_term(terms):
    lost = [
        (term.name, word)
        for term in terms.terms
        for word in (*term.words, *term.labels)
        if terms.find(word, term.kind) is not term
    ]
    assert lost == []


def test_every_word_of_a_term_is_mentioned_by_itself(terms):
    lost = [
        (term.name, word)
        for term in terms.terms
        for word in term.words
        if terms.mentions(f"There: {word}.", term.kind) != [term]
    ]
    assert lost == []


def test_names_are_spelt_as_classes_are(terms):
    assert all(term.name == normalise_name(term.name) for term in terms.terms)


def test_copper_is_a_defect_or_a_material_by_kind(terms):
    assert terms.normalise("copper", "material") == "copper"
    assert terms.normalise("copper", "defect") == "spurious copper"
    assert terms.normalise("wood") == "wood"


def test_unknown_words_stay_in_the_usual_spelling(terms):
    assert terms.normalise("Grumbly_Thing") == "grumbly thing"
    assert not terms.is_known("Grumbly_Thing")


def test_misspelt_names_are_not_guessed(terms):
    assert terms.find("scrath") is None
    assert terms.nearest("scrath", 1) == ["scratch"]
    assert terms.nearest("qqqq") == []


def test_unknown_kinds_are_refused(terms):
    with pytest.raises(ValueError, match="expected one of"):
        terms.mentions("a crack", "defects")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Rolled-in scale near the edge", ["rolled in scale"]),
        ("spurious copper, then two SCRATCHES and a scratch.", ["spurious copper", "scratch"]),
        ("Hairline cracks beside a crack", ["hairline crack", "crack"]),
        ("uncracked, scratchless, Holehead", []),
        ("oil. Stain here", ["stain"]),
        ("one pin_hole; one pinhole; pin-holes", ["pinhole"]),
        ("located in the center, open and short at random", []),
        ("a greyish colour difference", ["color difference"]),
        ("表面有划痕和气孔。", ["scratch", "blowhole"]),
        ("’Cracks’ of 5 mm²", ["crack"]),
        ("", []),
    ],
)
def test_sentences_mention_whole_words_longest_first(terms, text, found):
    assert names(terms.mentions(text, "defect")) == found


def test_mentions_ask_for_one_kind(terms):
    text = "An aluminium sheet with a can of paint and a scratch"
    assert names(terms.mentions(text, "product")) == ["aluminum sheet"]
    assert names(terms.mentions(text, "material")) == ["aluminum", "paint"]


def test_a_spelling_of_two_terms_is_refused(tmp_path):
    path = write_terms(
        tmp_path / "terms.csv",
        "defect,scratch,Score-Mark,scratches,划痕,スクラッチ,",
        "defect,groove,score mark,grooves,沟槽,溝,",
    )
    with pytest.raises(ValueError, match=r"terms.csv line 3: .*line 2 gives to 'scratch'"):
        Terminology.read(path)


def test_two_kinds_may_share_a_spelling(tmp_path):
    path = write_terms(
        tmp_path / "terms.csv",
        "material,wood,,wood,木材,木材,",
        "product,wood,,wood,木板,木板,",
    )
    assert Terminology.read(path).find("wood", "material").chinese == "木材"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "defect,crack,,cracks,裂纹,クラック,\ndefect,crack,,rifts,裂,裂,",
            "line 3: defect 'crack'",
        ),
        ("fault,crack,,cracks,裂纹,クラック,", "line 2: kind is 'fault'"),
        ("defect,crack,,cracks,裂纹", "line 2: 5 cells, expected 7"),
        ("defect,crack,,cracks,,クラック,", "line 2: 'crack' lacks"),
        ("defect,Hot_Spot,,hot spots,热斑,ホットスポット,", "line 2: name is 'Hot_Spot'"),
    ],
)
def test_faulty_rows_are_refused_with_their_line(tmp_path, row, message):
    with pytest.raises(ValueError, match=message) as error:
        Terminology.read(write_terms(tmp_path / "terms.csv", row))
    assert "\n" not in str(error.value)


def test_missing_table_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="are missing"):
        Terminology.read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: header"),
        (b"kind,name\n", "line 1: header"),
        ("缺陷".encode("big5"), "not UTF-8"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, content, message):
    (tmp_path / "terms.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Terminology.read(tmp_path / "terms.csv")


def test_the_shipped_table_is_sorted_within_its_kinds(terms):
    rows = [(term.kind, term.name) for term in terms.terms]
    kinds = list(dict.fromkeys(kind for kind, _ in rows))
    assert rows == sorted(rows, key=lambda row: (kinds.index(row[0]), row[1]))


def test_classes_get_the_synonyms_of_their_term() -> None:
    vocabulary = Terminology.load().vocabulary_of(["blowhole", "scratches", "nothing known"])
    assert vocabulary.names == ("good", "blowhole", "scratches", "nothing known")
    assert vocabulary.id_of("scratch") == 2
    assert len(vocabulary.entries[3]) == 1


def test_no_synonym_stands_for_two_classes() -> None:
    names = sorted(term.name for term in Terminology.load().terms if term.kind == "defect")
    vocabulary = Terminology.load().vocabulary_of(names)
    assert [vocabulary.id_of(name) for name in names] == list(range(1, len(names) + 1))


def test_two_spellings_of_one_term_stay_two_classes() -> None:
    vocabulary = Terminology.load().vocabulary_of(["scratch", "scratches"])
    assert vocabulary.id_of("scratch") != vocabulary.id_of("scratches")
