"""Fingerprints -> pairs of copies: pixel-identical, near, or turned and mirrored.

Images of one product resemble each other more than many a copy resembles its original, so no
fixed similarity parts the two. A pair counts as copies where it is far more alike than either
image is to the many look-alikes of its product. Two looks of 6 kB an image are kept in memory.
What an image is reduced to is said in `fingerprints.py`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from datamodules.preparing.fingerprints import BROAD, FINE, TURNS, Look, look_at, turned_rows

EVEN_DEVIATION = 2.0
# An image may have this many copies before they are taken for look-alikes of its product.
LARGEST_FAMILY = 16
BLOCK, PAIR_BLOCK = 512, 4096
# Of the logarithms of width / height of two copies, which a quarter turn negates.
LARGEST_ASPECT_DIFFERENCE = math.log1p(0.1)
HASH_BANDS = 24
FEWEST_HASH_BITS = 16
LARGEST_BUCKET = 32
LARGEST_LISTED_GROUP = 32
# Among a thousand images drawn at random the few nearest tell how alike a product's parts are.
SAMPLED_IMAGES = 1024
SAMPLED_FAMILY = 4
SMALLEST_CANDIDATE_SIMILARITY = 0.5


@dataclass(frozen=True)
class Pair:
    """Two images of one origin: `first` turned by `turn` (one of TURNS) is `second`.

    kind: "exact" (same pixels), "near" (alike as it stands), "turned" (alike after the turn).
    similarity: correlation of the fine looks in [-1, 1], 1 where exact.
    """

    first: int
    second: int
    kind: str
    turn: str
    similarity: float


@dataclass(frozen=True)
class Duplicates:
    """The pairs found, and by which search: "exhaustive" or "hashed"."""

    pairs: tuple[Pair, ...]
    search: str


def find_duplicates(
    thumbnails: np.ndarray,
    pixel_sha256: Sequence[str],
    sizes_px: np.ndarray,
    *,
    limit_of_exhaustive: int = 20_000,
) -> Duplicates:
    """All pairs of copies among N images, first < second, in order.

    thumbnails: (N, 48, 48) uint8; sizes_px: (N, 2) width and height, whose ratios must agree.
    Even images are compared by hash only, those of one colour not at all; above
    `limit_of_exhaustive` candidates come from hashes. Of more than 32 identical images those beyond
    are paired with the first only: decide by `duplicate_groups`, not by single pairs.
    """
    members: dict[str, list[int]] = {}
    for image, name in enumerate(pixel_sha256):
        members.setdefault(name, []).append(image)
    # One colour all over is no likeness: black rims of scans would link all that they belong to.
    pairs = _identical(g for g in members.values() if thumbnails[g[0]].std() > 0)
    groups = [g for g in members.values() if thumbnails[g[0]].std() >= EVEN_DEVIATION]
    if len(groups) < 2:
        return Duplicates(tuple(pairs), "exhaustive")
    searched = np.array([group[0] for group in groups])
    looks = {look: look_at(thumbnails[searched], look) for look in (FINE, BROAD)}
    aspects = np.log(sizes_px[searched, 0] / sizes_px[searched, 1]).astype(np.float32)
    if len(searched) <= limit_of_exhaustive:
        search = "exhaustive"
        accepted = [_accepted_of_all(looks[look], aspects, look) for look in looks]
    else:
        search = "hashed"
        candidates = _candidates(looks[BROAD])
        accepted = [_accepted_of(candidates, looks[look], aspects, look) for look in looks]
    found = np.unique(np.concatenate(accepted), axis=0)
    alike = {look: _similarity_in_turns(found, looks[look], aspects) for look in looks}
    # Rounded, so that among equals of a symmetric image the plain turn wins.
    turns = np.argmax(np.round(alike[FINE] + alike[BROAD], 2), axis=1)
    for (first, second), turn, similarity in zip(found, turns, alike[FINE], strict=True):
        pairs += _between(groups[first], groups[second], int(turn), float(similarity[turn]))
    ordered = sorted(pairs, key=lambda pair: (pair.first, pair.second))
    return Duplicates(tuple(ordered), search)


def duplicate_groups(pairs: Sequence[Pair], count: int) -> np.ndarray:
    """Labels (count,) int: images linked by any chain of pairs share one, others have their own.

    Labels are dense and in the order of first appearance.
    """
    links = np.array([(pair.first, pair.second) for pair in pairs], int).reshape(-1, 2)
    matrix = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(count, count))
    _, component = connected_components(matrix, directed=False)
    _, first, label = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[label]


def _identical(groups: Iterable[list[int]]) -> list[Pair]:
    """The pairs inside groups of pixel-identical images."""
    return [
        Pair(first, second, "exact", TURNS[0], 1.0)
        for group in groups
        for place, second in enumerate(group)
        for first in (group[:place] if place < LARGEST_LISTED_GROUP else group[:1])
    ]


def _between(ones: list[int], others: list[int], turn: int, similarity: float) -> list[Pair]:
    """The pairs of two groups of identical images whose first members are near copies."""
    back = -turn % 4 if turn < 4 else turn
    kind = "turned" if turn else "near"
    return [
        Pair(one, other, kind, TURNS[turn], similarity)
        if one < other
        else Pair(other, one, kind, TURNS[back], similarity)
        for one in ones[:LARGEST_LISTED_GROUP]
        for other in others[:LARGEST_LISTED_GROUP]
    ]


def _similarity_of_pairs(pairs: np.ndarray, rows: np.ndarray, turn: int) -> np.ndarray:
    """Similarity (P,) of the turned first and the second image of every pair."""
    alike = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), PAIR_BLOCK):
        first, second = pairs[start : start + PAIR_BLOCK].T
        ones, others = turned_rows(rows[first], turn), rows[second].astype(np.float32)
        alike[start : start + len(first)] = np.einsum("pd,pd->p", ones, others)
    return alike


def _similarity_in_turns(pairs: np.ndarray, rows: np.ndarray, aspects: np.ndarray) -> np.ndarray:
    """Similarity (P, 8) of every pair in every turn, -1 where the aspect ratios forbid it."""
    alike = np.empty((len(pairs), len(TURNS)), np.float32)
    first, second = aspects[pairs].T
    for turn in range(len(TURNS)):
        fits = np.abs(first + (second if turn % 2 else -second)) <= LARGEST_ASPECT_DIFFERENCE
        alike[:, turn] = np.where(fits, _similarity_of_pairs(pairs, rows, turn), -1)
    return alike


def _nearest(
    rows: np.ndarray, others: np.ndarray, aspects: np.ndarray, kept: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of every row the nearest of `others` (indices) over all turns: similarity and index.

    Both (n, kept), best first; similarity -1 where nothing else has that shape.
    """
    similarity = np.empty((len(rows), kept), np.float32)
    index = np.empty((len(rows), kept), np.int64)
    reference = np.ascontiguousarray(rows[others].astype(np.float32).T)
    for start in range(0, len(rows), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(rows)))
        best = np.full((len(block), len(others)), -1, np.float32)
        for parity, sign in ((0, -1), (1, 1)):
            alike = np.full_like(best, -1)
            for turn in range(parity, len(TURNS), 2):
                np.maximum(alike, turned_rows(rows[block], turn) @ reference, out=alike)
            difference = np.abs(aspects[block, None] + sign * aspects[others])
            fits = difference <= LARGEST_ASPECT_DIFFERENCE
            np.maximum(best, alike, out=best, where=fits)
        best[block[:, None] == others] = -1
        chosen = np.argpartition(-best, kept - 1, axis=1)[:, :kept]
        values = np.take_along_axis(best, chosen, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        similarity[block] = np.take_along_axis(values, order, axis=1)
        index[block] = others[np.take_along_axis(chosen, order, axis=1)]
    return similarity, index


def _accepted_of_all(rows: np.ndarray, aspects: np.ndarray, look: Look) -> np.ndarray:
    """The copies (P, 2) among all pairs of rows in one look."""
    kept = 1 + min(LARGEST_FAMILY, max(1, len(rows) // 4))
    everyone = np.arange(len(rows))
    similarity, index = _nearest(rows, everyone, aspects, kept)
    pairs = np.stack([everyone.repeat(kept), index.ravel()], axis=1)
    return _accepted(pairs, similarity.ravel(), similarity[:, -1], look)


def _accepted_of(
    pairs: np.ndarray, rows: np.ndarray, aspects: np.ndarray, look: Look
) -> np.ndarray:
    """The copies (P, 2) among candidate pairs of rows in one look."""
    sample = np.random.default_rng(0).permutation(len(rows))[:SAMPLED_IMAGES]
    kept = min(SAMPLED_FAMILY + 1, len(sample))
    sampled, _ = _nearest(rows, sample, aspects, kept)
    best = _similarity_in_turns(pairs, rows, aspects).max(axis=1, initial=-1)
    row, _, alike, rank = _ranked(pairs, best)
    background = sampled[:, -1]
    is_last = rank == LARGEST_FAMILY
    background[row[is_last]] = np.maximum(background[row[is_last]], alike[is_last])
    return _accepted(pairs, best, background, look)


def _accepted(
    pairs: np.ndarray, similarity: np.ndarray, background: np.ndarray, look: Look
) -> np.ndarray:
    """The pairs (P, 2), first < second, that are nearer than their backgrounds allow."""
    least = np.maximum(background[pairs].max(axis=1), look.smallest_background)
    is_copy = 1 - similarity < look.largest_ratio * (1 - least)
    return np.sort(pairs[is_copy | (similarity > look.certain_similarity)], axis=1)


def _candidates(rows: np.ndarray) -> np.ndarray:
    """Pairs (C, 2) that share a bucket of random-hyperplane bits in some turn.

    Every image keeps at most twice its family of them, the most alike ones.
    """
    hyperplanes = np.random.default_rng(0)
    bits = max(FEWEST_HASH_BITS, math.ceil(math.log2(len(rows))))
    pairs, similarity = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    for _ in range(HASH_BANDS):
        planes = hyperplanes.standard_normal((bits, rows.shape[1]), np.float32)
        plain = _codes(rows, planes)
        order = np.argsort(plain, kind="stable")
        for turn in range(len(TURNS)):
            # Turning the planes back is turning the image, at a fraction of the cost.
            inverse = -turn % 4 if turn < 4 else turn
            codes = _codes(rows, turned_rows(planes, inverse)) if turn else plain
            mates = _bucket_mates(codes, plain[order], order)
            alike = _similarity_of_pairs(mates, rows, turn)
            is_close = alike > SMALLEST_CANDIDATE_SIMILARITY
            pairs = np.concatenate([pairs, np.sort(mates[is_close], axis=1)])
            similarity = np.concatenate([similarity, alike[is_close]])
        pairs, similarity = _strongest(pairs, similarity, count=len(rows))
    return pairs


def _codes(rows: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """The side of every hyperplane that each row is on, as the bits of one integer: (n,) int64."""
    weights = 1 << np.arange(len(planes), dtype=np.int64)
    blocks = np.array_split(rows, math.ceil(len(rows) / PAIR_BLOCK))
    return np.concatenate([(b.astype(np.float32) @ planes.T > 0) @ weights for b in blocks])


def _bucket_mates(codes: np.ndarray, sorted_codes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) of each image and the others with its code, 32 of them at most."""
    start = np.searchsorted(sorted_codes, codes, side="left")
    sizes = np.searchsorted(sorted_codes, codes, side="right") - start
    counts = np.minimum(sizes, LARGEST_BUCKET)
    # In a cut bucket everyone looks at another stretch of it, or its head would be all they see.
    start += np.arange(len(codes)) * 7919 % (sizes - counts + 1)
    first = np.repeat(np.arange(len(codes)), counts)
    place = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    second = order[np.repeat(start, counts) + place]
    return np.stack([first, second], axis=1)[first != second]


def _ranked(pairs: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, ...]:
    """Both directions of the pairs, best first: row, its mate, similarity, rank in the row."""
    row, mate = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.lexsort((-np.tile(similarity, 2), row))
    row, mate = row[order], mate[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row, side="left")
    return row, mate, np.tile(similarity, 2)[order], rank


def _strongest(
    pairs: np.ndarray, similarity: np.ndarray, *, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once, with its best similarity, that is among the best of either image."""
    order = np.lexsort((-similarity, pairs[:, 1], pairs[:, 0]))
    _, once = np.unique(pairs[order, 0] * count + pairs[order, 1], return_index=True)
    pairs, similarity = pairs[order[once]], similarity[order[once]]
    row, mate, _, rank = _ranked(pairs, similarity)
    is_kept = rank < 2 * LARGEST_FAMILY
    keys = np.minimum(row, mate)[is_kept] * count + np.maximum(row, mate)[is_kept]
    kept = np.isin(pairs[:, 0] * count + pairs[:, 1], keys)
    return pairs[kept], similarity[kept]
