"""Which caption a sample gets: the built one or the one that came with the data.

Whatever the choice, it fits the text encoder's token limit, and nothing is cut silently.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from datamodules.captions import Caption, defect_first, without_places
from datamodules.sample import UNLABELLED, Record

CHOICES = ("built", "released", "both")
LOGGER = logging.getLogger(__name__)


@dataclass
class CaptionChoice:
    """The choice between captions, and the token limit that they are shortened to.

    choice: "built" from the template's fields, "released" where the data has a caption of its
    own, "both" for either at even odds. token_limit: the text encoder's, 0 for none. Raises
    ValueError for another choice.
    """

    choice: str = "built"
    count_tokens: Callable[[str], int] | None = None
    token_limit: int = 0
    shortened_count: int = 0

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ValueError(f"captions: got {self.choice!r}, expected one of {', '.join(CHOICES)}")

    def caption_of(
        self, caption: Caption, record: Record, *, shown: Sequence[str], moved: bool, seed: int
    ) -> str:
        """The caption for a sample of a record.

        caption: the record's, made true for the sample; shown: the defects in sight; moved: the
        image was mirrored, turned or cropped, so that free text may tell no place any more.
        """
        same_types = set(shown) == set(record.defects)
        if record.released_caption and same_types and self._takes_released(record, seed):
            text = record.released_caption
            text = without_places(text) if moved else text
            if text:
                return self._fit_free(text, record)
        if record.split == UNLABELLED:
            return caption.render_part()
        if caption.defect and not same_types:
            caption = replace(caption, defect=" and ".join(shown), cause="")
        return self._fit(caption, record)

    def _takes_released(self, record: Record, seed: int) -> bool:
        if self.choice == "both":
            return bool(seed & 1)
        return self.choice == "released" or record.split == UNLABELLED

    def _fit(self, caption: Caption, record: Record) -> str:
        if self.count_tokens is None or not self.token_limit:
            return caption.render()
        text, is_shortened = caption.fit(self.count_tokens, self.token_limit)
        return self._counted(text, record, is_shortened)

    def _fit_free(self, text: str, record: Record) -> str:
        if self.count_tokens is None or not self.token_limit:
            return text
        text, is_shortened = defect_first(
            text, record.defects, count_tokens=self.count_tokens, limit=self.token_limit
        )
        return self._counted(text, record, is_shortened)

    def _counted(self, text: str, record: Record, is_shortened: bool) -> str:
        if is_shortened and self.shortened_count == 0:
            LOGGER.warning(
                "captions over %d tokens are shortened, the defect's words stay; the first is that "
                "of %s (said once per process; experiments.audit counts them all)",
                self.token_limit,
                record.image,
            )
        self.shortened_count += is_shortened
        return text
