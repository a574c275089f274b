"""What gives a faulty caption away: turns of phrase, and which words also mean which defect.

The rules that use them are in `caption_audit.py`; the terms themselves are in `terms.csv`.
"""

import re


def _names(listed: str) -> frozenset[str]:
    """The names between commas."""
    return frozenset(" ".join(name.split()) for name in listed.split(","))


# From a word of denial to the end of its clause nothing is said to be there.
DENIAL = re.compile(
    r"\b(?:no|not|without|free (?:of|from)|absence of|lacks?(?! of)|lacking|devoid of|neither"
    r"|nor|never|void of|lack of(?! (?:fusion|penetration|glue|bonding)))\b(?! only)"
    r".*?(?=[.;:!?](?:\s|$)|\b(?:but|however|yet|although|though|while|whereas|except)\b|$)",
    re.IGNORECASE | re.DOTALL,
)
# What the defect came from or may lead to is not in the image either.
CAUSE_OR_EFFECT = re.compile(
    r"\b(?:caused by|due to|formed by|stem\w* from|result\w* from|attributed to"
    r"|(?:could|can|may|might) (?:lead to|result in|cause)|leading to|resulting in|risk of"
    r"|such as dust)\b[^.;,:]*",
    re.IGNORECASE,
)
# "Hot-rolled" is a material, not the defect "rolled"; "displays" and "can" are no products.
INNOCENT = re.compile(r"\b(?:hot|cold)[- ]rolled\b|\b(?:displays?|can)\b", re.IGNORECASE)
# "Longitudinal cracks are not prominent": they are there, if hard to see.
FAINT = re.compile(
    r"\bnot (?:very |easily |clearly |so )?(?:prominent|noticeable|obvious|visible)\b",
    re.IGNORECASE,
)

# Where a caption says outright what the defect is; the group holds the name.
CLAIMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bdefects?\s*(?:is|are|include[sd]?|including|such as|known as|of|like|:)\s*"
        r"(?P<name>[^.;:]{1,60})",
        r"(?P<name>(?:[\w-]+\s+){1,3})(?:defects?|flaws?)\b",
        r"[\"'‘“](?P<name>[\w -]{3,40})[,.]?[\"'’”]",
        r"(?:^|(?<=[.:]\s))(?P<name>(?:[\w-]+\s+){1,3})(?:refers?|appears?|is|are|indicates?)\b",
    )
)
SAYS_DEFECT = re.compile(
    r"\b(?:defects?|flaws?|issues?)\s*(?::|include|is\b|are\b)"
    r"|\b(?:flaws?|imperfections?|blemish(?:es)?|anomal(?:y|ies)|irregularities|damaged?)\b",
    re.IGNORECASE,
)

DEBRIS = {
    "list number": re.compile(r"^\s*\d{1,2}[.)]\s"),
    "heading": re.compile(
        r"#{2,}|\bExplanation:|\b(?:Detailed |Updated )?(?:Description )?Variation\b\s*(?:-|:)"
        r"|\bVariation - |\bImage Caption \d|^\s*(?:\w+ ){1,3}Description\s*\n|\bDescription:"
    ),
    "task": re.compile(
        r"\bdetailed variation\b.{0,30}\b(?:could|might|may|would) involve"
        r"|\b[Aa]nother variation could|\bas an AI\b|\b[Hh]ere is (?:a|the)\b",
        re.IGNORECASE | re.DOTALL,
    ),
    "lone dash": re.compile(r"^\s*-\s|\n\s*-\s*(?:\n|$)"),
    "literal line break": re.compile(r"\\n"),
    "lost apostrophe": re.compile(r"\w\?s\b|\w\?t\b"),
    "replacement character": re.compile("�"),
    "capital inside a sentence": re.compile(r"(?<=[a-z,] )The\b"),
    "small letter after a full stop": re.compile(r"[a-z]\. (?!and\b|or\b)[a-z]"),
    "glued sentences": re.compile(r"[a-z]{2}\.[A-Z][a-z]"),
}

NOT_VISIBLE = re.compile(
    r"\b(?:odou?rs?|smell\w*|tast(?:e|es|y|ing)|flavou?rs?|off-flavou?rs?|seasoning|hygien\w*"
    r"|preservatives?|chemicals affect|shelf life|storage|stored|moisture retention|nutrition\w*"
    r"|(?:requir\w+|necessitat\w+|prompting|need(?:s|ed)? for)\s(?:[\w-]+\s){0,3}"
    r"(?:maintenance|inspection|repairs?|replacement|attention|cleaning|analysis)"
    r"|if (?:left )?(?:un\w+|not addressed)|crucial for manufacturers|(?:plays?|played) a \w+ role"
    r"|highlights? the importance of|regular (?:maintenance|inspections?|lubrication)"
    r"|(?:should|must|may) be (?:repaired|replaced|cleaned|inspected)|may require replacement"
    r"|load distribution analysis|measurements help|manufacturing involves|is a device that"
    r"|tripping hazards?|safety hazards?|burn time|customer satisfaction)\b",
    re.IGNORECASE,
)
FINISHED_END = re.compile(r"[.!?][\"'”’)\]]*\s*$")
# " Center, this image depicts": a class name that was put in front of the sentence.
LEADING_NAME = re.compile(r"^\s*(?P<name>[A-Z][\w-]*(?: [\w-]+)?), (?=this\b|an?\b|the\b)")
LINKS = re.compile(r".*ly$|^(?:here|overall|however|moreover|furthermore|in .*)$")

# Names that say no more than "something is wrong", or that describe the look of many defects.
VAGUE = frozenset(
    {"defect", "damage", "surface defect", "other defect", "combined defects", "color difference"}
)
# A labelled defect is also called these: they name it and are no other defect. Every kind
# of crack is a crack already, by its name.
_DESCRIBED_AS = """
crack: break, micro crack, notch, crazing
crazing: crack, break
break: chipping, edge breakage, broken area, missing corner, notch, crack
large break: break, crack, broken area, chipping
small break: break, crack, broken area, chipping
blowhole: bubble, porosity, pinhole, gas pocket, void, cavity, pit, hole, puncture, dark spot,
  spot
pinhole: hole, puncture, void, pit, porosity, blowhole
scratch: abrasion, scuff, cut, scratch pattern
scratch pattern: scratch, abrasion
stain: dirt, dirt stain, wall stain, oil stain, water stain, dust, smudge, fingerprint,
  contamination, dark spot, spot, discoloration
dirt stain: dirt, stain, contamination
marker stain: stain, ink stain, discoloration
contamination: foreign material, impurity, inclusion, dirt, dust, particle
inclusion: impurity, foreign material, patch
pitted surface: pitting, pit, corrosion, dark spot, spot
pitting: pitted surface, pit, crater, dark spot, spot
rolled in scale: oxide scale, oxidation, patch, unevenness
tooth bottom oxidation layer: oxidation, rust, corrosion, discoloration
tooth surface oxidation layer: oxidation, rust, corrosion, discoloration
patch: spot, dark spot, rough area
fray: wear, abrasion
unevenness: bump, orange peel, wave bar, bulge
bump: bulge, unevenness
crease: fold, wrinkle, dead crease
dead crease: crease, fold
label wrinkle: wrinkle, crease
label bubble: bubble
cap deformation: deformation, dent, crooked cap, gap
cap breakpoint: cap crack, crack, break, cap damage
cap bad edge: edge defect, edge breakage
edge defect: crack, warping, chipping, edge breakage
spot: dark spot, stain, bright spot, white spot, different color spot
different color spot: spot, stain, dark spot
void: hole, dark cell
mura: uneven brightness, uneven color
split teeth: broken teeth, break
squeezed teeth: squeeze, deformation
broken spandex: tear, break
"""
DESCRIBED_AS = {
    label: _names(words)
    for label, _, words in (
        line.partition(": ") for line in _DESCRIBED_AS.strip().replace("\n  ", " ").splitlines()
    )
}
# Named in passing these still are defects; any other term counts only where it is claimed.
_PLAIN = """
crack, micro crack, hairline crack, crazing, break, scratch, abrasion, bubble, blowhole, pinhole,
porosity, gas pocket, chipping, warping, rust, corrosion, inclusion, pitting, pitted surface,
delamination, mura, burn in, contamination, foreign material, dent, wrinkle, crease, peeling,
flaking, rolled in scale, dirt, stain, water stain, oil stain, marker stain, corrosion stain,
fingerprint, broken warp, broken spandex, oxidation, hot spot, uneven glaze, discoloration, edge
defect, ghosting
"""
PLAIN = _names(_PLAIN)

# Products that the vocabulary does not list, because no image of the data shows them.
STRANGE_PRODUCT = re.compile(r"\bbathroom (?:fixtures?|equipment)\b", re.IGNORECASE)
VAGUE_PRODUCTS = frozenset({"industrial part", "metal surface", "textured surface", "label"})
KIN_PRODUCTS = (
    frozenset({"integrated circuit", "wafer", "wafer map", "semiconductor device"}),
    frozenset({"steel pipe", "steel pipe weld", "weld seam"}),
    frozenset({"baijiu bottle", "bottle"}),
    frozenset({"baijiu cap", "bottle cap"}),
)
