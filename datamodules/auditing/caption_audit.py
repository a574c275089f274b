"""What is wrong with one caption: it names another defect, another product, or is debris.

Turns of phrase are in `caption_phrases.py`, faults of whole tables in `label_audit.py`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from datamodules.auditing import caption_phrases as phrases
from datamodules.language.terminology import Terminology
from datamodules.vocabulary import normalise_name

FEWEST_WORDS = 4


@dataclass(frozen=True, slots=True)
class Flag:
    """One fault of a caption, and the words that show it."""

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

    defects: the labelled ones, () for a good part, None where the label names no type.
    count_tokens: of the text encoder; without it only captions that are too short are flagged.
    """
    evidence: dict[str, Iterable[str]] = {}
    if defects:
        kind, names = _wrong_defects(caption, defects, terms)
        evidence = {kind: names, "leading_label": _leading_label(caption, defects)}
    elif defects is not None:
        claim = phrases.SAYS_DEFECT.search(asserted(caption))
        evidence["defect_on_good"] = named_defects(caption, terms) or _found(claim)
    evidence["other_product"] = _other_products(caption, product, terms)
    evidence["generation_debris"] = [
        n for n, debris in phrases.DEBRIS.items() if debris.search(caption)
    ]
    evidence["cut_off"] = [] if phrases.FINISHED_END.search(caption) else [caption.strip()[-30:]]
    evidence["not_visible"] = dict.fromkeys(phrases.NOT_VISIBLE.findall(caption))
    words, tokens = len(caption.split()), count_tokens(caption) if count_tokens else 0
    if words < FEWEST_WORDS:
        evidence["length"] = [f"{words} words"]
    elif tokens > token_limit:
        evidence["length"] = [f"{tokens} tokens"]
    return [Flag(kind, ", ".join(words)) for kind, words in evidence.items() if words]


def named_defects(caption: str, terms: Terminology) -> list[str]:
    """The names of the defects that a caption says are there, without what it denies.

    Words that also describe an innocent look (spot, line, patch) count only where the caption
    says outright that they are the defect.
    """
    text = asserted(caption)
    named = [term.name for term in terms.mentions(text, "defect") if term.name in phrases.PLAIN]
    for claim in phrases.CLAIMS:
        for match in claim.finditer(text):
            named += [term.name for term in terms.mentions(match["name"], "defect")]
    return [name for name in dict.fromkeys(named) if name not in phrases.VAGUE]


def asserted(caption: str) -> str:
    """The caption without what it denies ("no visible crack"), and without causes and effects."""
    text = phrases.INNOCENT.sub(" ", phrases.FAINT.sub("faint", caption))
    return phrases.CAUSE_OR_EFFECT.sub(" ", phrases.DENIAL.sub(" ", text))


def _wrong_defects(
    caption: str, defects: Sequence[str], terms: Terminology
) -> tuple[str, Sequence[str]]:
    """The kind of fault in a caption of a defective part, and the names that show it, if any."""
    text = asserted(caption)
    labels = [_term_name(name, "defect", terms) for name in defects]
    named = named_defects(caption, terms)
    others = [name for name in named if not any(_means(name, label) for label in labels)]
    mentioned = [term.name for term in terms.mentions(text, "defect")]
    is_named = any(_is_said(name, text) for name in defects) or any(
        _means(name, label) for name in mentioned for label in labels
    )
    if others:
        return "extra_defect" if is_named else "other_defect", others
    is_hinted = any(_is_hinted(name, caption) for name in defects)
    return "unnamed_defect", () if is_named or is_hinted else defects


def _other_products(caption: str, product: str, terms: Terminology) -> list[str]:
    """The products that are named where neither the labelled one is nor one that stands for it.

    A label that is only a material ("steel") names no product that could be another.
    """
    label = _term_name(product, "product", terms)
    named = [term.name for term in terms.mentions(phrases.INNOCENT.sub(" ", caption), "product")]
    is_material = terms.find(product, "product") is None and terms.find(product, "material")
    is_kin = any(label in kin and not kin.isdisjoint(named) for kin in phrases.KIN_PRODUCTS)
    if is_material or label in named or is_kin:
        return []
    # A "steel strip" may be one of silicon steel; one word is too wide to be meant: a "tile" that
    # is not called magnetic is a ceramic one.
    return [
        name
        for name in dict.fromkeys([*phrases.STRANGE_PRODUCT.findall(caption), *named])
        if name not in phrases.VAGUE_PRODUCTS
        and not (len(name.split()) > 1 and set(name.split()) <= set(label.split()))
    ]


def _leading_label(caption: str, defects: Sequence[str]) -> list[str]:
    match = phrases.LEADING_NAME.match(caption)
    name = normalise_name(match["name"]) if match else ""
    is_label = any(name in normalise_name(defect) for defect in defects)
    return [match["name"]] if match and not is_label and not phrases.LINKS.match(name) else []


def _found(match: re.Match[str] | None) -> list[str]:
    return [match.group()] if match else []


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


def _means(name: str, label: str) -> bool:
    """Whether a term is the label, a kind of it ("edge crack"), or describes it."""
    return set(name.split()) >= set(label.split()) or name in phrases.DESCRIBED_AS.get(label, ())
