"""Single captions: what is flagged, what is let be, and the release's faults found by hand."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from datamodules.auditing.caption_audit import FLAG_KINDS, Flag, audit_caption, told_defects
from datamodules.auditing.caption_phrases import (
    KIN_PRODUCTS,
    PLAIN,
    TOLD_AS,
    UNTELLING,
    UNTELLING_PRODUCTS,
)
from datamodules.language.released_captions import ReleasedCaption, read_release
from datamodules.language.terminology import Terminology

TERMS = Terminology.load()
Found = dict[tuple[str, str], set[int]]

# Rows of the sample in which a reader finds the fault, by folder and kind.
KNOWN = [
    ("5-10MT_tiles", "other_defect", {2, 4, 5, 9, 13, 14, 45, 66}),
    ("5-10MT_tiles", "defect_on_good", set(range(49, 61))),
    ("11-19NEU-DET", "other_defect", {5, 6, 17}),
    ("20-24wall1000", "other_defect", {3}),
    ("25-30OLED", "other_defect", {2, 3, 5, 6, 7}),
    ("259-265gear", "other_defect", {6}),
    ("354_355solarcrack", "other_defect", {1, 2, 3, 4}),
    ("356_366aluminum", "other_defect", {3, 4, 5, 7}),
    ("368_377alu_voc", "other_defect", {4, 6, 14, 15}),
    ("this_Processed_Categories_Data (2).csv", "other_defect", {6, 7, 9, 10}),
    ("560_561concrete", "defect_on_good", {8, 10}),
    ("543_551_ic_chip", "leading_label", {2, 4, 5, 6, 8, 10}),
    ("259-265gear", "generation_debris", {3, 4, 5, 7, 9, 10}),
    ("399_405steel_pipe", "generation_debris", set(range(1, 10))),
    ("399_405steel_pipe", "cut_off", {2, 3, 4}),
    ("354_355solarcrack", "generation_debris", {7, 8}),
    ("406_542VisA", "generation_debris", {1, 2, 3, 4}),
    ("562_563iccad", "length", set(range(1, 7))),
    ("570gear", "unnamed_defect", {8, 9, 10}),
]
CLEAN = ["31-38solarcell", "367waterheat", "397_398silicon", "558_559semiconductor"]


def count_tokens(text: str) -> int:
    return 2 + len(re.findall(r"\w+|[^\w\s]", text))


def kinds_of(caption: str, *defects: str, product: str = "steel sheet") -> set[str]:
    flags = audit_caption(caption, defects=defects, product=product, terms=TERMS)
    return {flag.kind for flag in flags}


@pytest.fixture(scope="module")
def found(shared_data: Path) -> Found:
    """The rows of each folder that have a flag, by folder and kind."""
    rows: Found = defaultdict(set)
    for row in read_release(shared_data / "imdd1m_release"):
        for flag in flags_of(row):
            rows[row.csv.split("/")[0], flag.kind].add(row.row)
    return rows


def flags_of(row: ReleasedCaption) -> list[Flag]:
    return audit_caption(
        row.caption,
        defects=row.defects or (() if row.is_good else None),
        product=row.product,
        terms=TERMS,
        count_tokens=count_tokens,
    )


@pytest.mark.parametrize(
    ("caption", "kind"),
    [
        ("The sheet shows a deep scratch.", "other_defect"),
        ("The sheet shows a crack and a deep scratch.", "extra_defect"),
        ("The steel sheet lies on a table.", "unnamed_defect"),
        ("A bottle with a crack.", "other_product"),
        ("1. The steel sheet shows a crack.", "generation_debris"),
        ("Explanation: the steel sheet shows a crack.", "generation_debris"),
        ("A crack in the steel sheet.\n\n### Detailed Variation:\n- ", "generation_debris"),
        ("A crack in the steel sheet.\n\nImage Caption 2:", "generation_debris"),
        (r"A crack in the steel sheet.\n\nIt is long.", "generation_debris"),
        ("The sheet?s crack is long.", "generation_debris"),
        ("The crack in the steel sheet is clearly", "cut_off"),
        ("A crack.", "length"),
        ("The cracked steel sheet smells of oil.", "not_visible"),
        ("The crack in the sheet requires immediate maintenance.", "not_visible"),
        (" Scratch, this image shows a crack in a steel sheet.", "leading_label"),
    ],
)
def test_each_kind_of_fault_is_flagged(caption, kind):
    assert kind in kinds_of(caption, "crack")
    assert kind in FLAG_KINDS


@pytest.mark.parametrize(
    "caption",
    [
        "The steel sheet shows a crack.",
        "Fine cracks run over the steel sheet, which has no scratches.",
        "A crack, without dents or scratches, is seen in the steel sheet.",
        "The steel sheet is cracked and fractured.",
        "A hot-rolled steel sheet with a crack.",
        "A crack in a steel sheet, caused by inclusions.",
        "A crack in the steel sheet that may lead to corrosion.",
    ],
)
def test_a_true_caption_has_no_fault(caption):
    assert kinds_of(caption, "crack") == set()


@pytest.mark.parametrize(
    "caption",
    [
        "A steel sheet with no visible crack.",
        "The steel sheet is free of scratches, dents and stains.",
        "A flawless steel sheet without any imperfections or abnormalities.",
        "The steel sheet lacks blemishes, cracks or pits.",
    ],
)
def test_denied_defects_do_not_count_on_a_good_part(caption):
    assert kinds_of(caption) == set()


def test_what_follows_a_denial_counts_again():
    assert told_defects("There is no crack, but a scratch.", TERMS) == ["scratch"]


def test_a_defect_that_is_hard_to_see_is_there():
    assert told_defects("The cracks are not prominent.", TERMS) == ["crack"]


def test_lack_of_fusion_is_a_defect_and_no_denial():
    caption = "The steel pipe shows a lack of fusion."
    assert kinds_of(caption, "unfused", product="steel pipe") == set()


@pytest.mark.parametrize("caption", ["A steel sheet with a crack.", "The sheet is damaged here."])
def test_a_defect_on_a_good_part_is_flagged(caption):
    assert kinds_of(caption) == {"defect_on_good"}


def test_words_of_looks_count_only_where_they_are_claimed():
    assert told_defects("Dark patches and spots lie on it.", TERMS) == []
    assert told_defects('The image shows a "dark spot".', TERMS) == ["dark spot"]


def test_one_label_of_several_is_enough():
    assert kinds_of("The steel sheet has a scratch.", "crack", "scratch") == set()


def test_an_untold_type_is_not_judged():
    flags = audit_caption("A cap with dents.", defects=None, product="cap", terms=TERMS)
    assert flags == []


def test_too_many_tokens_are_told_with_their_number():
    flags = audit_caption(
        "A crack in this steel sheet.",
        defects=["crack"],
        product="steel sheet",
        terms=TERMS,
        count_tokens=lambda text: 78,
    )
    assert [(flag.kind, flag.evidence) for flag in flags] == [("length", "78 tokens")]


def test_a_label_that_is_a_material_tells_no_product():
    assert kinds_of("A rail with a crack.", "crack", product="steel") == set()


@pytest.mark.parametrize(("folder", "kind", "rows"), KNOWN)
def test_faults_found_by_hand_in_the_release_are_flagged_and_no_others(found, folder, kind, rows):
    assert found[folder, kind] == rows


def test_glossary_entries_on_other_defects_are_flagged(found):
    crazing_refers_to = {9, 15, 22, 29, 31, 36}
    assert crazing_refers_to <= found["11-19NEU-DET", "extra_defect"]


def test_air_bubbles_beside_the_labelled_defect_are_flagged(found):
    told = {*range(16, 25), *range(25, 37), 62, 63, 67, 68, 70, 71, 72} - {17}
    assert told <= found["5-10MT_tiles", "extra_defect"]


def test_smell_taste_and_storage_are_not_visible(found):
    assert {6, 7, 8, 9, 10} <= found["406_542VisA", "not_visible"]


def test_magnetic_tiles_that_are_called_ceramic_or_bathroom_ware_are_flagged(found):
    without_product = 63
    assert found["5-10MT_tiles", "other_product"] == set(range(1, 73)) - {without_product}


@pytest.mark.parametrize("folder", CLEAN)
def test_files_without_known_faults_have_no_flag(found, folder):
    assert not {key for key in found if key[0] == folder}


def test_the_tables_of_phrases_name_only_terms_of_the_vocabulary():
    described = {word for words in TOLD_AS.values() for word in words}
    used = {*PLAIN, *UNTELLING, *TOLD_AS, *described}
    assert not used - {term.name for term in TERMS.terms if term.kind == "defect"}
    used_products = UNTELLING_PRODUCTS.union(*KIN_PRODUCTS)
    assert not used_products - {term.name for term in TERMS.terms if term.kind == "product"}
