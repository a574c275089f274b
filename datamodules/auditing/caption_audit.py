"""What is wrong with one caption: it tells another defect, another product, or is debris.

Turns of phrase are in `caption_phrases.py`, faults of whole tables in `label_audit.py`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from datamodules.auditing.caption_phrases import (
    CAUSE_OR_EFFECT,
    CLAIMS,
    DEBRIS,
    DENIAL,
    FAINT,
    INNOCENT,
    KIN_PRODUCTS,
    LEADING_NAME,
    LINKING_WORDS,
    NOT_VISIBLE,
    PLAIN,
    STRANGE_PRODUCT,
    TELLS_DEFECT,
    TOLD_AS,
    UNFINISHED_END,
    UNTELLING,
    UNTELLING_PRODUCTS,
)
from datamodules.language.terminology import Terminology
from datamodules.vocabulary import normalise_name

FEWEST_WORDS = 4
FLAG_KINDS = (
    "other_defect",
    "extra_defect",
    "unnamed_defect",
    "defect_on_good",
    "other_product",
    "generation_debris",
    "cut_off",
    "length",
    "not_visible",
    "leading_label",
)


@dataclass(frozen=True, slots=True)
class Flag:
    """One fault of a caption: a name of FLAG_KINDS, and the words that show it."""

    kind: str
    evidence: str


def audit_caption(
    caption: str,
    *,
    defects: Sequence[str] | None,
    product: str,
    terms: Terminology,
    count_tokens: Callable[[str], int] | None = None,
    token_limit: int = 77,
) -> list[Flag]:
    """The faults of a caption, at most one flag of each kind.

    defects: the labelled ones, () for a good part, None where the label tells no type.
    count_tokens: of the text encoder; without it only captions that are too short are told.
    """
    flags = [
        *_audit_product(caption, product, terms),
        *_audit_form(caption),
        *_audit_length(caption, count_tokens, token_limit),
    ]
    if defects is None:
        return flags
    if not defects:
        return [*_audit_good(caption, terms), *flags]
    return [*_audit_defects(caption, defects, terms), *_audit_lead(caption, defects), *flags]


def told_defects(caption: str, terms: Terminology) -> list[str]:
    """The names of the defects that a caption tells of, without what it denies.

    Words that also describe an innocent look (spot, line, patch) count only where the caption
    says outright that they are the defect.
    """
    text = asserted(caption)
    told = [term.name for term in terms.mentions(text, "defect") if term.name in PLAIN]
    for claim in CLAIMS:
        for match in claim.finditer(text):
            told += [term.name for term in terms.mentions(match["name"], "defect")]
    return [name for name in dict.fromkeys(told) if name not in UNTELLING]


def asserted(caption: str) -> str:
    """The caption without what it denies ("no visible crack"), and without causes and effects."""
    text = INNOCENT.sub(" ", FAINT.sub("faint", caption))
    return CAUSE_OR_EFFECT.sub(" ", DENIAL.sub(" ", text))


def _audit_defects(caption: str, defects: Sequence[str], terms: Terminology) -> list[Flag]:
    labelled = [_term_name(name, "defect", terms) for name in defects]
    text = asserted(caption)
    mentioned = [term.name for term in terms.mentions(text, "defect")]
    others = [
        name
        for name in told_defects(caption, terms)
        if not any(_tells(name, label) for label in labelled)
    ]
    is_named = any(_is_said(name, text) for name in defects) or any(
        _tells(name, label) for name in mentioned for label in labelled
    )
    if others:
        return [Flag("extra_defect" if is_named else "other_defect", ", ".join(others))]
    if is_named or any(_is_hinted(name, caption) for name in defects):
        return []
    return [Flag("unnamed_defect", ", ".join(defects))]


def _audit_good(caption: str, terms: Terminology) -> list[Flag]:
    told = told_defects(caption, terms)
    if not told:
        match = TELLS_DEFECT.search(asserted(caption))
        told = [match.group()] if match else []
    return [Flag("defect_on_good", ", ".join(told))] if told else []


def _audit_product(caption: str, product: str, terms: Terminology) -> list[Flag]:
    """Another product is named and neither the labelled one nor one that may stand for it.

    A label that is only a material ("steel") tells no product that could be another.
    """
    text = INNOCENT.sub(" ", caption)
    label = _term_name(product, "product", terms)
    named = [term.name for term in terms.mentions(text, "product")]
    strange = [match.group() for match in STRANGE_PRODUCT.finditer(caption)]
    is_material = terms.find(product, "product") is None and terms.find(product, "material")
    if is_material or label in named:
        return []
    if any(name in group and label in group for name in named for group in KIN_PRODUCTS):
        return []
    others = [
        name
        for name in dict.fromkeys(strange + named)
        if name not in UNTELLING_PRODUCTS and not _is_wider(name, label)
    ]
    return [Flag("other_product", ", ".join(others))] if others else []


def _audit_form(caption: str) -> list[Flag]:
    flags = []
    debris = [name for name, pattern in DEBRIS.items() if pattern.search(caption)]
    if debris:
        flags.append(Flag("generation_debris", ", ".join(debris)))
    if not UNFINISHED_END.search(caption):
        flags.append(Flag("cut_off", caption.strip()[-30:]))
    unseen = [match.group() for match in NOT_VISIBLE.finditer(caption)]
    if unseen:
        flags.append(Flag("not_visible", ", ".join(dict.fromkeys(unseen))))
    return flags


def _audit_length(
    caption: str, count_tokens: Callable[[str], int] | None, token_limit: int
) -> list[Flag]:
    words = len(caption.split())
    if words < FEWEST_WORDS:
        return [Flag("length", f"{words} words")]
    tokens = count_tokens(caption) if count_tokens else 0
    return [Flag("length", f"{tokens} tokens")] if tokens > token_limit else []


def _audit_lead(caption: str, defects: Sequence[str]) -> list[Flag]:
    match = LEADING_NAME.match(caption)
    if match is None:
        return []
    name = normalise_name(match["name"])
    if LINKING_WORDS.match(name) or any(name in normalise_name(defect) for defect in defects):
        return []
    return [Flag("leading_label", match["name"])]


def _term_name(name: str, kind: str, terms: Terminology) -> str:
    term = terms.find(name, kind)
    return term.name if term else normalise_name(name)


def _is_said(name: str, text: str) -> bool:
    """Whether the words of a name stand in the text, in singular or plural."""
    stem = re.escape(normalise_name(name).rstrip("."))
    return re.search(rf"\b{stem}(?:e?s)?\b", normalise_name(text)) is not None


def _is_hinted(name: str, text: str) -> bool:
    """Whether a long word of the name is there: "spandex fibers that are fractured"."""
    words = [word.rstrip("s") for word in normalise_name(name).split() if len(word) > 3]
    return any(word in normalise_name(text) for word in words if word != "defect")


def _tells(name: str, label: str) -> bool:
    """Whether a term is the label, a kind of it ("edge crack"), or told in its words."""
    return set(name.split()) >= set(label.split()) or name in TOLD_AS.get(label, ())


def _is_wider(name: str, label: str) -> bool:
    """Whether a product is a wider one: a "steel strip" may be one of silicon steel.

    One word is too wide to be meant: a "tile" that is not called magnetic is a ceramic one.
    """
    return len(name.split()) > 1 and set(name.split()) <= set(label.split())
