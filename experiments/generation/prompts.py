"""What is to be generated: prompts as captions, so that words of place follow the mask.

A prompt in the template of section 5.1 ("Plate of steel with crack.") is parsed into its fields;
any other stays free text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datamodules.captions import Caption
from datamodules.formats.text_files import read_text
from datamodules.language.descriptors import morphology_of
from datamodules.sample import GOOD
from datamodules.vocabulary import defect_name, normalise_name

UNNAMED_PRODUCT = "part"


@dataclass(frozen=True, slots=True)
class Prompt:
    """Words, their fields where they follow the template, and the types that they ask for.

    types: parted by ";", "good", or None where nobody said.
    """

    text: str
    caption: Caption | None
    types: str | None

    def placed(self, mask: np.ndarray) -> "Prompt":
        """The prompt for a defect inside mask (H, W), with its place and shape.

        Free text stays as it is.
        """
        if self.caption is None:
            return self
        shape = self.caption.morphology or morphology_of(mask)
        caption = replace(self.caption, morphology=shape).relocated(mask)
        return replace(self, text=caption.render(), caption=caption)

    def fitted(self, count_tokens: Callable[[str], int], limit: int) -> str:
        """The words in at most `limit` tokens, by leaving out fields; ValueError for free text."""
        if self.caption is not None:
            return self.caption.fit(count_tokens, limit)[0]
        if (tokens := count_tokens(self.text)) > limit:
            raise ValueError(
                f"prompt {self.text[:60]!r} takes {tokens} tokens, expected at most the text "
                f"encoder's {limit}: shorten it"
            )
        return self.text


def gather_prompts(
    texts: Sequence[str], file: str, defect: str | None, *, has_mask: bool = False
) -> list[Prompt]:
    """The prompts given one by one and in a file, one a line, each with its types.

    Without any, the plain caption of `defect`. ValueError for an empty prompt or file, where
    nothing says what to generate, and where a mask needs one type and a prompt asks for another
    number.
    """
    lines = [line.strip() for line in read_text(Path(file)).splitlines()] if file else []
    if file and not any(lines):
        raise ValueError(f"--prompts {file} holds no line with words: write one prompt a line")
    wanted = [text.strip() for text in texts] + [line for line in lines if line]
    if not all(text.isprintable() and text for text in wanted):
        raise ValueError("a prompt is empty or has unprintable characters: expected words")
    if not wanted and not defect:
        raise ValueError(
            "nothing says what to paint: expected --prompt WORDS, --prompts FILE or --defect NAME"
        )
    prompts = [parse_prompt(text, defect) for text in wanted]
    if not prompts:
        caption = Caption(UNNAMED_PRODUCT, defect=defect_name(defect or ""))
        prompts = [Prompt(caption.render(), caption, caption.defect or GOOD)]
    for prompt in prompts if has_mask else ():
        if prompt.types in (None, GOOD) or ";" in str(prompt.types):
            raise ValueError(
                f"prompt {prompt.text[:60]!r} asks for {prompt.types or 'no known type'!r}: a mask "
                "shows one type of defect, name it with --defect"
            )
    return prompts


def parse_prompt(text: str, defect: str | None) -> Prompt:
    """The prompt of a text; its types are `defect`, else those that its fields name.

    ValueError where its fields name another defect than `defect`.
    """
    given = None if defect is None else defect_name(defect) or GOOD
    try:
        caption = Caption.parse(text)
    except ValueError:
        return Prompt(text, None, given)
    named = normalise_name(caption.defect) or GOOD
    if given is not None and f" {given} " not in f" {named} ":
        raise ValueError(
            f"prompt {text[:60]!r} names {named!r}, --defect is {given!r}: expected the same"
        )
    return Prompt(text, caption, given or ";".join(named.split(" and ")))
