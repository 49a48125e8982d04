"""Exact search of all pairs of 64-bit hashes within a Hamming radius.

The 64 bits are dealt to m bands. Two hashes that differ in at most r bits agree in at least
k = m - r bands, so that sorting by every choice of k bands brings every wanted pair into one
run of equal keys. Runs are compared with themselves by shifting, in blocks of bounded size. A
pair that several choices bring together is taken from the first of them alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]

BITS = 64
MAX_RADIUS = 16
_BLOCK = 1 << 16
_YIELD = 1 << 20
_SAMPLE = 20_000
_SORT_NS, _COMPARE_NS = 150.0, 6.0
_MOST_CHOICES = 3000


@dataclass(frozen=True)
class Pairs:
    """Pairs `i < j` of positions in the searched array and the bits in which they differ."""

    i: Ints
    j: Ints
    distance: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.i)

    @classmethod
    def joined(cls, parts: list[Pairs]) -> Pairs:
        """The parts one after the other."""
        none = np.empty(0, np.int64)
        return cls(
            np.concatenate([none, *(p.i for p in parts)]),
            np.concatenate([none, *(p.j for p in parts)]),
            np.concatenate([none.astype(np.uint8), *(p.distance for p in parts)]),
        )

    def where(self, keep: NDArray[np.bool_]) -> Pairs:
        """The pairs for which `keep` is true."""
        return Pairs(self.i[keep], self.j[keep], self.distance[keep])


def near_pairs(hashes: Hashes, radius: int, groups: Ints | None = None) -> Pairs:
    """All pairs at most `radius` bits apart, each once, in no particular order.

    Args:
        hashes: uint64, in any order, repeated or not.
        radius: 0 to 16.
        groups: a group of each hash; pairs inside a group are left out.
    """
    return Pairs.joined(list(iter_near_pairs(hashes, radius, groups)))


def iter_near_pairs(hashes: Hashes, radius: int, groups: Ints | None = None) -> Iterator[Pairs]:
    """The pairs of `near_pairs`, in blocks of about a million, so that they need not fit in memory.

    Equal hashes are searched once. A hash that n groups share makes n² / 2 pairs of its own: where
    that may be many, thin them out before.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius {radius} is not between 0 and {MAX_RADIUS}")
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(hashes) else np.empty(0, np.int64)
    bounds = np.r_[first, len(hashes)].astype(np.int64)
    for found in _blocks(ordered[first], bounds, radius):
        pairs = _expanded(found, bounds)
        i, j = order[pairs.i], order[pairs.j]
        pairs = Pairs(np.minimum(i, j), np.maximum(i, j), pairs.distance)
        yield pairs if groups is None else pairs.where(groups[pairs.i] != groups[pairs.j])


def _blocks(unique: Hashes, bounds: Ints, radius: int) -> Iterator[Pairs]:
    """Pairs of unique hashes, the repeated ones with themselves first."""
    repeated = np.flatnonzero(np.diff(bounds) > 1)
    yield from _cut(Pairs(repeated, repeated, np.zeros(len(repeated), np.uint8)), bounds)
    if radius and len(unique) > 1:
        for found in _search(unique, radius):
            yield from _cut(found, bounds)


def _cut(pairs: Pairs, bounds: Ints) -> Iterator[Pairs]:
    """The pairs in pieces that expand to about a million pairs each."""
    sizes = np.diff(bounds)
    total = np.cumsum(sizes[pairs.i] * sizes[pairs.j])
    most = int(total[-1]) if len(total) else 0
    ends = np.searchsorted(total, np.arange(_YIELD, most + _YIELD, _YIELD)) + 1
    start = 0
    for end in np.unique(np.minimum(ends, len(pairs))):
        yield Pairs(pairs.i[start:end], pairs.j[start:end], pairs.distance[start:end])
        start = int(end)


def _expanded(pairs: Pairs, bounds: Ints) -> Pairs:
    """From pairs of unique hashes to pairs of positions in the sorted array."""
    sizes = np.diff(bounds)
    a, b = sizes[pairs.i], sizes[pairs.j]
    times = a * b
    within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    width = np.repeat(b, times)
    i = np.repeat(bounds[pairs.i], times) + within // width
    j = np.repeat(bounds[pairs.j], times) + within % width
    found = Pairs(i, j, np.repeat(pairs.distance, times))
    return found.where((np.repeat(pairs.i != pairs.j, times)) | (i < j))


def _search(unique: Hashes, radius: int) -> Iterator[Pairs]:
    bands = plan(unique, radius)
    count = len(bands)
    for chosen in combinations(range(count), count - radius):
        skipped = bands[[b for b in range(chosen[-1]) if b not in chosen]]
        yield from _runs(unique, np.bitwise_or.reduce(bands[list(chosen)]), skipped, radius)


def plan(unique: Hashes, radius: int) -> Hashes:
    """The bands, as masks, with the least expected time.

    More bands make longer keys, so shorter runs, but more sorts. How many pairs share a key is
    estimated on a sample, because the bits of images are neither even nor independent.
    """
    size = len(unique)
    sample = unique[:: -(-size // _SAMPLE)]
    best, least = _dealt(sample, radius + 1), np.inf
    for count in range(radius + 1, min(BITS, radius + 12)):
        choices = comb(count, radius)
        if choices > _MOST_CHOICES:
            break
        bands = _dealt(sample, count)
        shared = _shared_keys(sample, bands, count - radius) * size * size / 2
        cost = choices * (_SORT_NS * size + _COMPARE_NS * shared)
        if cost < least:
            best, least = bands, cost
    return best


def _dealt(sample: Hashes, count: int) -> Hashes:
    """Masks of `count` bands that share out the uneven bits evenly."""
    shares = [float(((sample >> np.uint64(bit)) & np.uint64(1)).mean()) for bit in range(BITS)]
    masks = [0] * count
    for rank, bit in enumerate(sorted(range(BITS), key=lambda b: abs(shares[b] - 0.5))):
        lap, place = divmod(rank, count)
        masks[place if lap % 2 == 0 else count - 1 - place] |= 1 << bit
    return np.array(masks, np.uint64)


def _shared_keys(sample: Hashes, bands: Hashes, width: int) -> float:
    """Share of the sample's pairs that agree in `width` bands; the mean of some choices of bands."""
    count, size = len(bands), len(sample)
    tried = [[(start + step) % count for step in range(width)] for start in range(min(count, 8))]
    shared = 0
    for chosen in tried:
        _, runs = np.unique(sample & np.bitwise_or.reduce(bands[chosen]), return_counts=True)
        shared += int((runs * (runs - 1) // 2).sum())
    return shared / len(tried) / max(1, size * (size - 1) // 2)


def _runs(unique: Hashes, mask: np.uint64, skipped: Hashes, radius: int) -> Iterator[Pairs]:
    """The near pairs with equal keys; they differ in every skipped band, so no earlier choice had them."""
    keys = unique & mask
    order = np.argsort(keys)
    keys, values = keys[order], unique[order]
    ends = np.r_[np.flatnonzero(keys[1:] != keys[:-1]) + 1, len(keys)]
    last = np.repeat(ends, np.diff(ends, prepend=0))
    parts, waiting = [], 0
    for start in range(0, len(values), _BLOCK):
        place = np.arange(start, min(start + _BLOCK, len(values)))
        end, own, shift = last[place], values[place], 0
        while True:
            shift += 1
            inside = place + shift < end
            if not inside.all():
                place, end, own = place[inside], end[inside], own[inside]
            if not len(place):
                break
            differ = own ^ values[place + shift]
            hits = np.flatnonzero(np.bitwise_count(differ) <= radius)
            if not len(hits):
                continue
            differ = differ[hits]
            new = np.all((differ & skipped[:, None]) != 0, axis=0)
            hits, differ = hits[new], differ[new]
            i, j = order[place[hits]], order[place[hits] + shift]
            parts.append(Pairs(i, j, np.bitwise_count(differ)))
            waiting += len(hits)
            if waiting >= _YIELD:
                yield Pairs.joined(parts)
                parts, waiting = [], 0
    yield Pairs.joined(parts)
