"""How often words, examples and both name the regions of a set right, by K examples of each name.

Examples are drawn from training images, what is named lies in others: regions as they are marked,
and regions as a stage finds them. The command is `try_examples.py`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.annotation import open_pair
from datamodules.manifest import Manifest
from datamodules.sample import GOOD_ID, Instance, Prediction
from datamodules.splits import FewShots
from datamodules.transforms import to_tensor
from datamodules.vocabulary import Vocabulary
from experiments.inference.examples import (
    embed_example,
    join,
    regions_of,
    shares_by_words,
    spread,
    trusted,
)
from lightning_modules.nets.gallery import Gallery
from lightning_modules.nets.post_processing import vote
from lightning_modules.nets.region_embedding import VIEWS, RegionEmbedding
from lightning_modules.segmentation_module import SegmentationModule

MOST_OF_AN_IMAGE = 3
# Of a found region this share is marked as defective; where less than the second is, it is none.
IS_DEFECT, IS_NONE = 0.5, 0.1
NOTHING = ""
Seen = tuple[str, Tensor, Instance]  # a region's true name, its vector (1, 1, D), its words


@dataclass(frozen=True, slots=True)
class Regions:
    """R regions: their true names, NOTHING where none is marked; vectors (R, D) of the encoder;
    by_words: (R, K+1), how far each is of each name by words.
    """

    names: np.ndarray
    vectors: Tensor
    by_words: Tensor


class ExampleTrial:
    """Reads the regions of a manifest once, for any number of examples and draws."""

    def __init__(self, stage: SegmentationModule, embed: RegionEmbedding, index: Manifest) -> None:
        """stage: names in the manifest's words from now on."""
        self.stage, self.embed, self.index = stage, embed, index
        self.vocabulary = index.vocabulary
        assert stage.vocabulary is not None
        self.right = trusted(self.vocabulary, stage, stage.vocabulary)
        stage.set_vocabulary(self.vocabulary)

    def examples(self, most: int) -> dict[str, Tensor]:
        """Vectors (N, V, D) by name of marked regions of training images, at most so many each."""
        vectors: dict[str, list[Tensor]] = {name: [] for name in self.vocabulary.names[1:]}
        rows, names = self.index.rows_of("train"), self.vocabulary.names
        for row in map(int, np.random.default_rng(0).permutation(rows)):
            shown = {names[self.vocabulary.id_of(name)] for name in self.index[row].defects}
            if any(len(vectors[name]) < most for name in shown):
                found: Sequence[Instance] = ()
                if self.stage.shapes_examples:
                    found = self.stage.predict_image(to_tensor(self._pixels(row)[0])).instances
                for image, name, mask in self._marked(row):
                    if len(vectors[name]) < most:
                        one = embed_example(image, mask, self.embed, VIEWS, found)
                        vectors[name].append(one)
        return {name: torch.cat(one) for name, one in vectors.items() if one}

    @torch.inference_mode()
    def regions(self, split: str, *, images: int) -> tuple[Regions, Regions]:
        """Marked regions of so many images of each type, good too, and what the stage finds."""
        rows = FewShots(per_type=images).choose(self.index, self.index.rows_of(split))
        self.stage.look_at(to_tensor(self._pixels(int(row))[0]) for row in rows)
        marked, found = list[Seen](), list[Seen]()
        for row in map(int, rows):
            pixels, ids = self._pixels(row)
            image = to_tensor(pixels)
            prediction = self.stage.predict_image(image)
            for _, name, mask in self._marked(row):
                one = marked_instance(prediction, mask)
                marked.append((name, self.embed(image, [mask]), one))
            for one in prediction.instances:
                true = None if ids is None else self._true_name(ids[one.mask.numpy()])
                if true is not None:
                    found.append((true, self.embed(image, [one.mask]), one))
        return self._together(marked), self._together(found)

    def _pixels(self, row: int) -> tuple[np.ndarray, np.ndarray | None]:
        return open_pair(self.index[row], self.index.root, vocabulary=self.vocabulary)

    def _marked(self, row: int) -> Iterator[tuple[Tensor, str, Tensor]]:
        """Image (3, H, W), name and mask (H, W) bool of the largest few regions of each name."""
        record = self.index[row]
        for image, name, mask, order in regions_of(record, self.index.root, self.vocabulary):
            if order < MOST_OF_AN_IMAGE:
                yield image, name, torch.from_numpy(mask)

    def _true_name(self, ids: np.ndarray) -> str | None:
        """What class ids (N,) say that a found region is; None where they do not agree."""
        counts = np.bincount(ids, minlength=len(self.vocabulary))
        share = 1 - counts[GOOD_ID] / counts.sum()
        if share >= IS_DEFECT:
            return self.vocabulary.names[1 + int(counts[1:].argmax())]
        return NOTHING if share < IS_NONE else None

    def _together(self, seen: list[Seen]) -> Regions:
        names, vectors, instances = zip(*seen, strict=True) if seen else ((), (), ())
        return Regions(
            np.array(names, dtype=object),
            torch.cat([one[:, 0] for one in vectors]) if seen else torch.zeros(0, self.embed.width),
            shares_by_words(instances, len(self.vocabulary)),
        )


def marked_instance(found: Prediction, mask: Tensor) -> Instance:
    """A marked region, mask (H, W) bool, under the name that a prediction's pixels vote for."""
    types, scores = found.type_map.cpu()[mask], found.anomaly_map.float().cpu()[mask]
    class_id, runners_up = vote(types.numpy(), scores.numpy())
    return Instance(class_id, float(scores.mean()), mask, (0, 0, 0, 0), runners_up)


@dataclass(frozen=True, slots=True)
class Draw:
    """A gallery of drawn examples; and one of the same without those of `strange`, or None."""

    gallery: Gallery
    strange: str
    without: Gallery | None


def draw_galleries(pool: Mapping[str, Tensor], *, count: int, draws: int) -> list[Draw]:
    """So many draws of so many examples of each name; names with fewer in the pool take no part."""
    names = [name for name, one in pool.items() if len(one) >= count]
    found = []
    for draw in range(draws if names else 0):
        chance = np.random.default_rng(draw)
        drawn = {name: pool[name][chance.permutation(len(pool[name]))[:count]] for name in names}
        gallery, strange = Gallery("", drawn), names[draw % len(names)]
        found.append(Draw(gallery, strange, gallery.pruned(strange) if len(names) > 2 else None))
    return found


def name_by_draws(
    draws: Sequence[Draw],
    regions: Regions,
    asked: Sequence[str],
    *,
    vocabulary: Vocabulary,
    right: Tensor,
) -> dict[str, float]:
    """Mean shares of the regions by these galleries.

    words, examples, both: named right, each of the `asked` names counts the same; `examples` are
    asked for their best name even where they say unknown. known_unknown: of these regions,
    strange_unknown: of regions of a name that has no example, nothing_unknown: of regions where
    nothing is marked. right: how often the words are (`trusted`).
    """
    found: dict[str, list[float]] = defaultdict(list)
    for draw in draws:
        named = draw.gallery.name_regions(regions.vectors)
        by_examples = spread(named, draw.gallery, vocabulary)
        both = join(regions.by_words, by_examples, right=right, is_unknown=named.is_unknown)
        shares = {"words": regions.by_words, "examples": by_examples, "both": both}
        of_names: dict[str, list[float]] = defaultdict(list)
        for name in set(asked).intersection(draw.gallery.names, regions.names):
            own = regions.names == name
            for key, one in shares.items():
                is_right = one[own].argmax(dim=1) == vocabulary.id_of(name)
                of_names[key].append(float(is_right.float().mean()))
            of_names["known_unknown"].append(float(named.is_unknown[own].float().mean()))
        for key, values in of_names.items():
            found[key].append(float(np.mean(values)))
        nothing, strange = regions.names == NOTHING, regions.names == draw.strange
        if nothing.any():
            found["nothing_unknown"].append(float(named.is_unknown[nothing].float().mean()))
        if draw.without and strange.any():
            named = draw.without.name_regions(regions.vectors[strange])
            found["strange_unknown"].append(float(named.is_unknown.float().mean()))
    return {key: float(np.mean(values)) for key, values in found.items()}
