"""Names by example: regions that a person named, and what they call the regions of a prediction."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from datamodules.annotation import draw_region, open_pair
from datamodules.manifest import Manifest, Source
from datamodules.sample import GOOD_ID, Instance, Prediction, Record
from datamodules.sources.coco import Coco
from datamodules.sources.folder import Folder
from datamodules.transforms import to_tensor
from datamodules.vocabulary import GOOD_WORDS, Vocabulary
from experiments.checkpoints import GALLERY
from lightning_modules.nets.gallery import INDEX, UNKNOWN, Gallery, RegionNames
from lightning_modules.nets.post_processing import touching_pixels
from lightning_modules.nets.region_embedding import VIEWS, RegionEmbedding
from lightning_modules.segmentation_module import SegmentationModule

LOGGER = logging.getLogger(__name__)
ENCODER = "efficientnet_lite0"
MOST_EXAMPLES = 20
LEAST_AREA_PX = 9
# How far words that training never saw are trusted (on NEU-Seg without scratches 0.2 and less named
# most of all regions right), and examples at most; how much likelier a region of a name with
# examples is to be called unknown than one without, and to be called known.
NEW_WORDS_RIGHT, EXAMPLES_RIGHT = 0.2, 0.95
KNOWN_ODDS = (0.5, 1.75)
Find: TypeAlias = Callable[[Tensor], Prediction]  # in an image (3, H, W) in [-1, 1]
REMEDY = (
    "expected images/NAME/ and masks/ with a mask for each image, a COCO set in images/ and "
    "annotations/, a manifest.parquet that prepare wrote, of any source, or a saved gallery/"
)


def read_gallery(path: Path, embed: RegionEmbedding, find: Find | None = None) -> Gallery:
    """The gallery saved in a folder, or made of the examples in it, or in a manifest's training.

    An example is what a mask has in one piece, or a box; at most 20 of a name are taken, the first
    of each image before the second. find: what finds the regions to name. Raises FileNotFoundError,
    or ValueError for examples without a mask, a name that is "unknown", and a gallery of another
    encoder. A name of which nothing is marked is one too; of a manifest it is logged.
    """
    if (saved := saved_gallery(path)) is not None:
        return Gallery.load(saved, fingerprint=embed.fingerprint)
    root, records, vocabulary = read_records(path)
    made, counts = embed_examples(records, root, vocabulary, embed, find=find)
    shown = {vocabulary.names[vocabulary.id_of(name)] for one in records for name in one.defects}
    if lost := sorted(shown - made.keys()):
        problem = (
            f"--examples {path}: nothing of {LEAST_AREA_PX} px or more is marked as "
            f"{', '.join(map(repr, lost))}: mark more of it, or leave the name out"
        )
        if open_manifest(path) is None:
            raise ValueError(problem)
        LOGGER.warning(problem)
    if UNKNOWN in made or not made:
        got = f"the name {UNKNOWN!r}" if made else "no marked defect"
        raise ValueError(f"--examples {path}: got {got}, expected names of defects: {REMEDY}")
    for name, count in counts.items():
        if count == 1:
            LOGGER.warning("%r has one example: three or more name far better", name)
        elif count > MOST_EXAMPLES:
            LOGGER.warning("%r has more than %d examples: the first are used", name, MOST_EXAMPLES)
    gallery = Gallery(embed.fingerprint, made)
    if gallery.threshold <= -1:
        LOGGER.warning(
            "with so few examples nothing can be told from them: all that is found gets one of "
            "their names, and none is %r; give three or more of each",
            UNKNOWN,
        )
    return gallery


def embed_examples(
    records: Sequence[Record],
    root: Path,
    vocabulary: Vocabulary,
    embed: RegionEmbedding,
    views: int = VIEWS,
    find: Find | None = None,
) -> tuple[dict[str, Tensor], Counter[str]]:
    """Vectors (N, V, D) of at most 20 regions by name, and how many regions there were.

    find: the first view is of the region that it finds there, if any: names and the line to
    "unknown" are calibrated on the shapes that it gives to defects.
    """
    chosen, counts = choose_examples(records, root, vocabulary)
    wanted, places = set(chosen), sorted({place for place, _, _ in chosen})
    embedded: dict[tuple[int, str, int], Tensor] = {}
    missed = 0
    for place in places:
        regions = regions_of(records[place], root, vocabulary)
        own = [one for one in regions if (place, one[1], one[3]) in wanted]
        found = find(own[0][0]).instances if find else ()
        missed += find is not None and not found
        for image, name, drawn, order in own:
            mask = torch.from_numpy(drawn)
            embedded[place, name, order] = embed_example(image, mask, embed, views, found)
    if missed:
        LOGGER.warning(
            "nothing is found in %d of the %d images with examples: calibrate --objective "
            "false_alarm_rate=0.2 finds more defects, and more that are none",
            missed,
            len(places),
        )
    vectors: dict[str, list[Tensor]] = {name: [] for name in vocabulary.names[1:]}
    for place, name, order in chosen:
        vectors[name].append(embedded[place, name, order])
    return {name: torch.cat(one) for name, one in vectors.items() if one}, counts


def choose_examples(
    records: Sequence[Record], root: Path, vocabulary: Vocabulary
) -> tuple[list[tuple[int, str, int]], Counter[str]]:
    """Place, name and number of at most 20 regions a name, and how many regions there were.

    The first of each image comes before the second. No image is kept: they may be many and large.
    """
    counts, images = Counter[str](), Counter[str]()
    marked, chosen = [], []
    for place, record in enumerate(records):
        # A large set is not opened to its end for a few examples.
        names = {vocabulary.names[vocabulary.id_of(name)] for name in record.defects}
        if any(images[name] < MOST_EXAMPLES for name in names):
            for _, name, _, order in regions_of(record, root, vocabulary):
                images[name] += order == 0
                marked.append((place, name, order))
    for place, name, order in sorted(marked, key=lambda one: one[2]):
        counts[name] += 1
        if counts[name] <= MOST_EXAMPLES:
            chosen.append((place, name, order))
    return chosen, counts


def embed_example(
    image: Tensor, mask: Tensor, embed: RegionEmbedding, views: int, found: Sequence[Instance]
) -> Tensor:
    """Vectors (1, V, D) of a marked region; the first of what was found there instead, if any."""
    vectors = embed(image, [mask], views)
    if (own := most_alike(mask, [one.mask for one in found])) is not None:
        vectors[:, 0] = embed(image, [own])[:, 0]
    return vectors


def most_alike(mask: Tensor, others: Sequence[Tensor]) -> Tensor | None:
    """The mask (H, W) bool of the highest IoU with this one, None where none touches it."""
    shared = [float((mask & one).sum() / (mask | one).sum()) for one in others]
    return others[shared.index(best)] if (best := max(shared, default=0.0)) > 0 else None


def read_records(path: Path) -> tuple[Path, list[Record], Vocabulary]:
    """The root of the examples' images, their records and names.

    Raises FileNotFoundError or ValueError, one line, where there are none.
    """
    try:
        if manifest := open_manifest(path):
            records = [manifest[int(row)] for row in manifest.rows_of("train")]
            return manifest.root, records, manifest.vocabulary
        source: Source = Coco() if (path / "annotations").is_dir() else Folder()
        records = source.records(path)
        for record in records:
            if record.flaw or (record.defects and record.mask_kind == "none"):
                problem = record.flaw or "no mask or box says where the defect is"
                raise ValueError(f"{record.image}: {problem}")
        return path, records, source.vocabulary(records)
    except FileNotFoundError as error:
        problem = "holds no examples" if path.exists() else "is missing"
        raise FileNotFoundError(f"--examples {path} {problem}: {REMEDY}") from error
    except ValueError as error:
        raise ValueError(f"--examples {path}: {error}: {REMEDY}") from error


def open_manifest(path: Path) -> Manifest | None:
    """The manifest at path or in that folder, None where none is; ValueError for no Parquet."""
    file = path / "manifest.parquet" if path.is_dir() else path
    if file.is_file() and file.suffix != ".parquet":
        raise ValueError("a file that is no manifest.parquet")
    return Manifest.open(file) if file.is_file() else None


def saved_gallery(path: Path) -> Path | None:
    """Where a gallery is saved: here, or in the gallery/ of what is no set of images itself."""
    inner = path if (path / "images").is_dir() else path / GALLERY
    return next((place for place in (path, inner) if (place / INDEX).is_file()), None)


def example_images(path: Path) -> set[Path]:
    """The images that examples are cut from, none for a saved gallery."""
    if saved_gallery(path) is not None:
        return set()
    root, records, _ = read_records(path)
    return {(root / record.image).resolve() for record in records if record.defects}


def regions_of(
    record: Record, root: Path, vocabulary: Vocabulary
) -> Iterator[tuple[Tensor, str, np.ndarray, int]]:
    """Image (3, H, W) in [-1, 1], name, mask (H, W) bool and number of that name's regions."""
    if not record.defects or record.mask_kind == "none":
        return
    image, ids = open_pair(record, root, vocabulary=vocabulary)
    pixels, names = to_tensor(image), vocabulary.names
    if record.mask_kind == "box" and not record.window_xywh_px:
        size_px = (image.shape[0], image.shape[1])
        counts = Counter[str]()
        for region in record.regions:
            name = names[vocabulary.id_of(region.name)]
            yield pixels, name, draw_region(region, size_px=size_px), counts[name]
            counts[name] += 1
        return
    assert ids is not None
    for class_id in np.unique(ids[ids != GOOD_ID]):
        parts = [one for one in touching_pixels(ids == class_id) if one[1].sum() >= LEAST_AREA_PX]
        parts.sort(key=lambda one: -int(one[1].sum()))
        for order, (window, inside) in enumerate(parts):
            mask = np.zeros(ids.shape, dtype=bool)
            mask[window] = inside
            yield pixels, names[class_id], mask, order


class NewNames(ABC):
    """Names the regions of predictions anew, by what they look like to a frozen encoder."""

    @property
    @abstractmethod
    def vocabulary(self) -> Vocabulary:
        """The names of the new predictions."""

    @property
    @abstractmethod
    def keeps_words(self) -> bool:
        """Whether the old names are among the new, with their ids; else they become the last."""

    @abstractmethod
    def shares(self, image: Tensor, instances: Sequence[Instance]) -> Tensor:
        """How far each region is of each name, (R, K+1), rows sum to one and good has none."""

    def rename(self, image: Tensor, found: Prediction) -> Prediction:
        """The prediction of image (3, H, W) in [-1, 1] with its regions named anew.

        Label map, type scores and the image's answer follow from the names; where anything is, and
        how sure that is, stays. Regions beyond those that are listed are unknown, or by words.
        """
        shares = self.shares(image, found.instances)
        count, ids = shares.shape[1], torch.arange(len(found.type_scores))
        if not self.keeps_words:
            ids = torch.where(ids > GOOD_ID, count - 1, GOOD_ID)
        table = ids.to(found.label_map.device)
        label_map, type_map = table[found.label_map], table[found.type_map]
        held, instances = torch.zeros(count), []
        for one, share in zip(found.instances, shares, strict=True):
            first, *others = share.argsort(descending=True, stable=True).tolist()
            inside = one.mask.to(label_map.device)
            label_map[inside], type_map[inside] = first, first
            held[first] += one.score * float(one.mask.sum())
            next_ones = [(k, float(share[k])) for k in others if share[k] > 0]
            instances.append(replace(one, class_id=first, runners_up=tuple(next_ones)))
        old = found.type_scores.float().cpu()
        scores = torch.zeros(count).index_add_(0, ids, old)
        if held.sum() > 0:
            scores = (1 - old[GOOD_ID]) * held / held.sum()
            scores[GOOD_ID] = old[GOOD_ID]
        is_good = found.type_id == GOOD_ID
        return replace(
            found,
            label_map=label_map,
            type_map=type_map,
            type_scores=scores,
            type_id=GOOD_ID if is_good else 1 + int(scores[1:].argmax()),
            instances=instances,
        )


@dataclass(frozen=True, slots=True)
class NamesByExample(NewNames):
    """Names the regions of predictions by a gallery, beside words where there are some.

    words: what the predictions are named in, or None where the gallery alone names. Then what it
    calls unknown is "unknown". right: (K+1,) how often each of the words is (`trusted`).
    """

    embed: RegionEmbedding
    gallery: Gallery
    words: Vocabulary | None
    right: Tensor

    @property
    def vocabulary(self) -> Vocabulary:
        """The names of the new predictions: those of words first, with their ids.

        ValueError where the words say that a name of the gallery is none.
        """
        names = self.gallery.names
        if self.words is None:
            return Vocabulary((GOOD_WORDS, *((name,) for name in names), (UNKNOWN,)))
        if clash := set(names).intersection(self.words.negatives):
            raise ValueError(
                f"the labels say 'not {min(clash)}', and there are examples of {min(clash)!r}: "
                "leave one of the two out"
            )
        known = self.words.words
        new = ((name,) for name in names if name not in known)
        return Vocabulary((*self.words.entries, *new), self.words.negatives)

    @property
    def keeps_words(self) -> bool:
        """Whether there are words."""
        return self.words is not None

    def shares(self, image: Tensor, instances: Sequence[Instance]) -> Tensor:
        """How far each region is of each name, (R, K+1), rows sum to one and good has none."""
        vocabulary = self.vocabulary
        named = self.gallery.name_regions(self.embed(image, [one.mask for one in instances])[:, 0])
        by_examples = spread(named, self.gallery, vocabulary)
        if self.words is None:
            unknown = torch.eye(len(vocabulary))[-1]
            return torch.where(named.is_unknown[:, None], unknown, by_examples)
        by_words = shares_by_words(instances, len(vocabulary))
        right = torch.zeros(len(vocabulary))
        right[: len(self.right)] = self.right
        return join(by_words, by_examples, right=right, is_unknown=named.is_unknown)


def trusted(words: Vocabulary, stage: SegmentationModule, trained: Vocabulary) -> Tensor:
    """How often a region votes for its name, (K+1,) by the class of the words.

    As the stage's thresholds say where training knew one of the words, seldom where it did not.
    """
    right = stage.post_processing.points.names_right
    known = [not trained.words.isdisjoint(entry) for entry in words.entries]
    return torch.tensor([right if one else min(right, NEW_WORDS_RIGHT) for one in known])


def spread(named: RegionNames, gallery: Gallery, vocabulary: Vocabulary) -> Tensor:
    """A gallery's probabilities over all names of a vocabulary, (R, K+1); synonyms' are added."""
    shares = torch.zeros(len(named.probabilities), len(vocabulary))
    ids = torch.tensor([vocabulary.id_of(name) for name in gallery.names])
    return shares.index_add_(1, ids, named.probabilities)


def shares_by_words(instances: Sequence[Instance], count: int) -> Tensor:
    """How far each region is of each of `count` names by words, (R, K+1): its share of votes."""
    shares = torch.zeros(len(instances), count)
    for row, one in zip(shares, instances, strict=True):
        row[one.class_id] = 1 - sum(share for _, share in one.runners_up)
        for class_id, share in one.runners_up:
            row[class_id] = share
    return shares


def join(by_words: Tensor, by_examples: Tensor, *, right: Tensor, is_unknown: Tensor) -> Tensor:
    """How far each region is of each name by words and examples, (R, K+1), rows sum to one.

    Both are evidence, which multiplies: how much likelier than by chance is what one said if the
    region is of a name? Words say it as often as they are `right` (K+1,), 0 for a name without
    words, else any; examples likewise. is_unknown: (R,) to the examples.
    """
    has_words, has_examples = right > 0, by_examples.sum(dim=0) > 0
    has_words[GOOD_ID] = False
    words = 1 + right * (has_words.sum() * by_words - 1)
    examples = 1 + EXAMPLES_RIGHT * (has_examples.sum() * by_examples - 1)
    known = torch.where(is_unknown, *KNOWN_ODDS)[:, None]
    odds = torch.where(has_words, words, 1) * torch.where(has_examples, known * examples, 1)
    odds[:, GOOD_ID] = 0
    return odds / odds.sum(dim=1, keepdim=True)
