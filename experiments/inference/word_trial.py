"""Marked regions of a set, some names held out, and how often words name these: `try_words.py`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.manifest import Manifest
from datamodules.sample import Record
from datamodules.vocabulary import Vocabulary, fill
from experiments.inference.examples import regions_of
from lightning_modules.nets.gallery import Gallery
from lightning_modules.nets.naming import embed_prompts
from lightning_modules.nets.region_embedding import RegionEmbedding
from lightning_modules.nets.text_encoder import TextEncoder

MOST_OF_AN_IMAGE = 3


@dataclass(frozen=True, slots=True)
class Split:
    """asked: the names without examples; source: the set that alone has them, "" for all sets."""

    asked: tuple[str, ...]
    source: str

    def is_asked(self, record: Record, name: str) -> bool:
        """Whether a region of this name in this image is to be named."""
        return name in self.asked and self.source in ("", record.source)

    def is_example(self, record: Record, name: str) -> bool:
        """Whether such a region may be in the gallery."""
        return name not in self.asked if not self.source else record.source != self.source


class WordTrial:
    """Draws regions of a manifest and names them by a text tower through a frozen encoder."""

    def __init__(
        self, index: Manifest, embed: RegionEmbedding, towers: Mapping[str, TextEncoder]
    ) -> None:
        """towers: text towers by name, their weights read."""
        self.index, self.embed, self.towers = index, embed, towers

    def split(self, held_out: str, source: str) -> Split:
        """Which names are asked for; ValueError for two of them or fewer, or for none known."""
        if bool(held_out) == bool(source):
            raise ValueError("got both or none of --held_out and --held_out_source: expected one")
        names = self.index.vocabulary
        if source:
            records = (self.index[row] for row in range(len(self.index)))
            own = {names.id_of(name) for r in records if r.source == source for name in r.defects}
        else:
            own = {names.id_of(entry[0]) for entry in Vocabulary.parse(held_out).entries[1:]}
        if len(own) < 2:
            raise ValueError(
                f"{source or held_out!r} names {len(own)} of the set's types: expected two or more "
                f"of {', '.join(names.names[1:])}"
            )
        return Split(tuple(names.names[place] for place in sorted(own)), source)

    def draw(self, split: Split, *, most: int, seed: int) -> tuple[Gallery, dict[str, Tensor]]:
        """The gallery, and vectors (N, D) by name of what is to be named, at most so many each."""
        examples, asked = defaultdict[str, list[Tensor]](list), defaultdict[str, list[Tensor]](list)
        names = self.index.vocabulary
        for row in map(int, np.random.default_rng(seed).permutation(len(self.index))):
            record = self.index[row]
            wanted = {}
            for name in {names.names[names.id_of(word)] for word in record.defects}:
                place = asked if split.is_asked(record, name) else examples
                is_used = place is asked or split.is_example(record, name)
                if is_used and len(place[name]) < most:
                    wanted[name] = place[name]
            regions = regions_of(record, self.index.root, names) if wanted else ()
            for image, name, mask, order in regions:
                is_kept = name in wanted and order < MOST_OF_AN_IMAGE
                if is_kept and len(wanted[name]) < most:
                    wanted[name].append(self.embed(image, [torch.from_numpy(mask)]))
        gallery = {name: torch.cat(one) for name, one in examples.items() if one}
        regions_by_name = {name: torch.cat(one)[:, 0] for name, one in asked.items() if one}
        return Gallery(self.embed.fingerprint, gallery), regions_by_name

    def share_right(
        self,
        gallery: Gallery,
        regions: Mapping[str, Tensor],
        asked: Sequence[str],
        tower: str,
        templates: Sequence[str],
    ) -> float:
        """Share of the regions that get their name among those asked for, each name alike."""
        known, wanted = (self._texts(tower, names, templates) for names in (gallery.names, asked))
        right = [
            (gallery.resemble(vectors, known, wanted).argmax(1) == asked.index(name)).float().mean()
            for name, vectors in regions.items()
        ]
        return float(torch.stack(right).mean())

    @torch.no_grad()
    def _texts(self, tower: str, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        net = self.towers[tower]
        return embed_prompts(lambda texts: net(texts).pooled.float(), fill(templates, names))
