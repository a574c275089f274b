"""Single captions: what is flagged, what is let be, and the release's faults found by hand."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from datamodules.auditing import caption_phrases as phrases
from datamodules.auditing.caption_audit import audit_caption, named_defects
from datamodules.language.released_captions import read_release
from datamodules.language.terminology import Terminology

TERMS = Terminology.load()
Found = dict[tuple[str, str], set[int]]
# Rows of the sample in which a reader finds the fault, by folder and kind.
KNOWN = [
    ("5-10MT_tiles", "other_defect", {2, 4, 5, 9, 13, 14, 45, 66}),
    ("5-10MT_tiles", "defect_on_good", set(range(49, 61))),
    ("5-10MT_tiles", "other_product", set(range(1, 73)) - {63}),
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
# More rows have these: a glossary on other defects, air bubbles, and smell, taste and storage.
KNOWN_AMONG_OTHERS = [
    ("11-19NEU-DET", "extra_defect", {9, 15, 22, 29, 31, 36}),
    ("5-10MT_tiles", "extra_defect", {*range(18, 25), *range(25, 37), 62, 63, 67, 68, 70, 71, 72}),
    ("406_542VisA", "not_visible", {6, 7, 8, 9, 10}),
]
CLEAN = {"31-38solarcell", "367waterheat", "397_398silicon", "558_559semiconductor"}


def kinds_of(caption: str, *defects: str, product: str = "steel sheet") -> set[str]:
    flags = audit_caption(caption, defects=defects, product=product, terms=TERMS)
    return {flag.kind for flag in flags}


@pytest.fixture(scope="module")
def found(shared_data: Path) -> Found:
    """The rows of each folder that have a flag, by folder and kind."""
    rows: Found = defaultdict(set)
    for row in read_release(shared_data / "imdd1m_release"):
        flags = audit_caption(
            row.caption,
            defects=row.defects or (() if row.is_good else None),
            product=row.product,
            terms=TERMS,
            count_tokens=lambda text: 2 + len(re.findall(r"\w+|[^\w\s]", text)),
        )
        for flag in flags:
            rows[row.csv.split("/")[0], flag.kind].add(row.row)
    return rows


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


@pytest.mark.parametrize(
    ("caption", "defects", "product"),
    [
        ("The steel sheet shows a crack.", ["crack"], "steel sheet"),
        ("Fine cracks run over the sheet, which has no scratches.", ["crack"], "steel sheet"),
        ("A crack, without dents, is seen in the steel sheet.", ["crack"], "steel sheet"),
        ("A hot-rolled steel sheet with a crack.", ["crack"], "steel sheet"),
        ("A crack in a steel sheet, caused by inclusions.", ["crack"], "steel sheet"),
        ("A crack in the steel sheet that may lead to corrosion.", ["crack"], "steel sheet"),
        ("The steel sheet has a scratch.", ["crack", "scratch"], "steel sheet"),
        ("A steel sheet with no visible crack.", [], "steel sheet"),
        ("A flawless steel sheet without any imperfections.", [], "steel sheet"),
        ("The steel sheet lacks blemishes, cracks or pits.", [], "steel sheet"),
        ("The steel pipe shows a lack of fusion.", ["unfused"], "steel pipe"),
        ("A rail with a crack.", ["crack"], "steel"),
    ],
)
def test_a_true_caption_has_no_fault(caption, defects, product):
    assert kinds_of(caption, *defects, product=product) == set()


@pytest.mark.parametrize("caption", ["A steel sheet with a crack.", "The sheet is damaged here."])
def test_a_defect_on_a_good_part_is_flagged(caption):
    assert kinds_of(caption) == {"defect_on_good"}


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("There is no crack, but a scratch.", ["scratch"]),
        ("The cracks are not prominent.", ["crack"]),
        ("Dark patches and spots lie on it.", []),
        ('The image shows a "dark spot".', ["dark spot"]),
    ],
)
def test_defects_count_where_they_are_said_to_be(caption, names):
    assert named_defects(caption, TERMS) == names


def test_an_unnamed_type_is_not_judged():
    assert audit_caption("A cap with dents.", defects=None, product="cap", terms=TERMS) == []


def test_too_many_tokens_are_flagged_with_their_number():
    caption, settings = "A crack in this steel sheet.", {"product": "steel sheet", "terms": TERMS}
    (flag,) = audit_caption(caption, defects=["crack"], count_tokens=lambda _: 78, **settings)
    assert (flag.kind, flag.evidence) == ("length", "78 tokens")


@pytest.mark.parametrize(("folder", "kind", "rows"), KNOWN)
def test_faults_found_by_hand_in_the_release_are_flagged_and_no_others(found, folder, kind, rows):
    assert found[folder, kind] == rows


def test_known_faults_among_others_are_flagged_and_clean_files_have_none(found):
    for folder, kind, rows in KNOWN_AMONG_OTHERS:
        assert rows <= found[folder, kind]
    assert not CLEAN & {folder for folder, _ in found}


def test_the_tables_of_phrases_name_only_terms_of_the_vocabulary():
    described = {word for words in phrases.DESCRIBED_AS.values() for word in words}
    used = {*phrases.PLAIN, *phrases.VAGUE, *phrases.DESCRIBED_AS, *described}
    assert not used - {term.name for term in TERMS.terms if term.kind == "defect"}
    products = phrases.VAGUE_PRODUCTS.union(*phrases.KIN_PRODUCTS)
    assert not products - {term.name for term in TERMS.terms if term.kind == "product"}
