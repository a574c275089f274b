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


def count_nothing(text: str) -> int:
    """No tokens: every caption fits."""
    return 0


@dataclass
class CaptionChoice:
    """The choice between captions, and the token limit that they are shortened to.

    choice: "built" from the template's fields, "released" where the data has a caption of its
    own, "both" for either at even odds. Raises ValueError for another choice.
    """

    choice: str = "built"
    count_tokens: Callable[[str], int] = count_nothing
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
        image was mirrored, turned or cropped, so that free text may name no place any more.
        """
        same_types = set(shown) == set(record.defects)
        text = record.released_caption if same_types and self._takes_released(record, seed) else ""
        text = without_places(text) if moved else text
        if text:
            count, limit = self.count_tokens, self.token_limit
            fitted = defect_first(text, record.defects, count_tokens=count, limit=limit)
        elif record.split == UNLABELLED:
            return caption.render_part()
        else:
            if caption.defect and not same_types:
                caption = replace(caption, defect=" and ".join(shown), cause="")
            fitted = caption.fit(self.count_tokens, self.token_limit)
        text, is_shortened = fitted
        if is_shortened and self.shortened_count == 0:
            LOGGER.warning(
                "captions over %d tokens are shortened, the defect's words stay; the first is that "
                "of %s (said once per process; experiments.audit counts them all)",
                self.token_limit,
                record.image,
            )
        self.shortened_count += is_shortened
        return text

    def _takes_released(self, record: Record, seed: int) -> bool:
        if self.choice == "both":
            return bool(seed & 1)
        return self.choice == "released" or record.split == UNLABELLED
