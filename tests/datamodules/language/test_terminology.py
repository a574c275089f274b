"""The controlled vocabulary: its table, its spellings, and what sentences name."""

from xml.etree import ElementTree

import pytest

from datamodules.language.released_captions import read_release
from datamodules.language.terminology import KINDS, Terminology
from datamodules.vocabulary import normalise_name

TERMS = Terminology.load()
# Magnetic tiles, steel, boards, solar cells; then MVTec AD, VisA, Real-IAD, WM-811K, GC10-DET.
_LABELS = """
MT_Blowhole MT_Break MT_Crack MT_Fray MT_Uneven crazing inclusion patches pitted_surface
rolled-in_scale scratches open short mousebite spur copper pin-hole broken hot_spot black_border
no_electricity broken_large bent_wire cut_inner_insulation poke_insulation combined color
faulty_imprint thread metal_contamination pill_type manipulated_front flip scratch_neck glue_strip
gray_stroke oil cut_lead fabric_border liquid chunk_of_wax_missing different_colour_spot extra
same_colour_spot foreign_particals_on_candle small_chip_around_edge corner_and_edge_breakage
wrong_place AK BX CH HS PS QS YW ZW Center Donut Edge-Loc Edge-Ring Loc Near-full Scratch Random
crescent_gap silk_spot rolled_pit waist_folding bite-edge paint-off
"""
LABELS = _LABELS.split()
_PRODUCTS = """
bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile toothbrush transistor
wood zipper candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb4 pipe_fryum
audiojack bottle_cap button_battery end_cap eraser fire_hood mint mounts pcb phone_battery
plastic_nut plastic_plug porcelain_doll toy regulator rolled_strip_base sim_card_set switch tape
terminalblock toy_brick transistor1 u_block usb usb_adaptor vcpill wooden_beads woodstick
"""
PRODUCTS = _PRODUCTS.split()


def test_the_table_holds_many_sorted_terms_of_every_kind():
    rows = [(KINDS.index(term.kind), term.name) for term in TERMS.terms]
    assert len(set(rows)) == len(rows) >= 520
    for kind in KINDS:
        names = [term.name for term in TERMS.terms if term.kind == kind]
        assert names and names == sorted(map(normalise_name, names))
    assert all(all(term.words) and len(term.forms) == 3 for term in TERMS.terms)


def test_no_spelling_stands_for_two_terms_and_every_word_is_mentioned_by_itself():
    for term in TERMS.terms:
        for word in (*term.words, *term.labels):
            assert TERMS.find(word, term.kind) is term
        for word in term.words:
            assert TERMS.mentions(f"There: {word}.", term.kind) == [term]


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("scratches", "defect", "scratch"),
        ("rolled-in_scale", "defect", "rolled in scale"),
        ("broken spandex.", "defect", "broken spandex"),
        ("  Hot   SPOT", "defect", "hot spot"),
        ("划痕", "defect", "scratch"),
        ("スクラッチ", "defect", "scratch"),
        ("discolouration", "defect", "discoloration"),
        ("copper", "defect", "spurious copper"),
        ("copper", "material", "copper"),
        ("wood", None, "wood"),
        ("Grumbly_Thing", None, "grumbly thing"),
        ("scrath", None, "scrath"),
    ],
)
def test_spellings_lead_to_the_canonical_name_and_nothing_is_guessed(text, kind, name):
    assert TERMS.normalise(text, kind) == name


def test_labels_of_public_sets_are_known():
    assert [label for label in LABELS if TERMS.find(label, "defect") is None] == []
    assert [label for label in PRODUCTS if TERMS.find(label, "product") is None] == []
    assert len({TERMS.normalise(label, "defect") for label in LABELS[:21]}) == 21


def test_labels_in_real_annotations_are_known(shared_data):
    paths = [*shared_data.glob("neu_det/**/*.xml"), *shared_data.glob("pv_multi_defect/**/*.xml")]
    labels = {str(name.text) for path in paths for name in ElementTree.parse(path).iter("name")}
    labels |= {one for row in read_release(shared_data / "imdd1m_release") for one in row.defects}
    assert len(labels) > 40
    assert [label for label in labels if TERMS.find(label, "defect") is None] == []


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
def test_sentences_mention_whole_words_longest_first(text, found):
    assert [term.name for term in TERMS.mentions(text, "defect")] == found


def test_classes_get_the_synonyms_that_no_other_class_claims():
    vocabulary = TERMS.vocabulary_of(["blowhole", "scratches", "nothing known"])
    assert vocabulary.names == ("good", "blowhole", "scratches", "nothing known")
    assert vocabulary.id_of("scratch") == 2 and len(vocabulary.entries[3]) == 1
    names = [term.name for term in TERMS.terms if term.kind == "defect"]
    every = TERMS.vocabulary_of(names)
    assert [every.id_of(name) for name in names] == list(range(1, len(names) + 1))
