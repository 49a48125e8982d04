from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.audit.hamming import Hashes, Ints, Pairs, iter_near_pairs, near_pairs


def brute(hashes: Hashes, radius: int, groups: Ints | None = None) -> set[tuple[int, int, int]]:
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    wanted = np.triu(distance <= radius, 1)
    if groups is not None:
        wanted &= groups[:, None] != groups[None]
    return {(int(i), int(j), int(distance[i, j])) for i, j in zip(*np.nonzero(wanted), strict=True)}


def listed(pairs: Pairs) -> list[tuple[int, int, int]]:
    return list(zip(pairs.i.tolist(), pairs.j.tolist(), pairs.distance.tolist(), strict=True))


def clustered(seed: int, size: int) -> tuple[Hashes, Ints]:
    """Hashes around few centres, so that all distances up to about 12 occur, and groups."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, 4, dtype=np.uint64)[rng.integers(0, 4, size)]
    for _ in range(6):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, size).astype(np.uint64))
    hashes[size // 2 :] = hashes[: size - size // 2]
    return hashes, rng.integers(0, max(1, size // 3), size)


@pytest.mark.parametrize("radius", range(11))
@given(seed=st.integers(0, 2**32), size=st.integers(0, 60), grouped=st.booleans())
@settings(max_examples=20, deadline=None)
def test_all_pairs_once_as_by_brute_force(radius: int, seed: int, size: int, grouped: bool) -> None:
    hashes, groups = clustered(seed, size)
    found = listed(near_pairs(hashes, radius, groups if grouped else None))
    assert len(found) == len(set(found))
    assert set(found) == brute(hashes, radius, groups if grouped else None)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_any_hashes(values: list[int], radius: int) -> None:
    hashes = np.array(values, np.uint64)
    assert sorted(listed(near_pairs(hashes, radius))) == sorted(brute(hashes, radius))


@pytest.mark.parametrize("radius", [0, 1, 4, 6])
def test_planted_pairs_at_every_distance_are_found_among_many(radius: int) -> None:
    rng = np.random.default_rng(radius)
    hashes = rng.integers(0, 2**64, 100_000, dtype=np.uint64)
    places = rng.permutation(len(hashes))[: 2 * 50 * (radius + 2)].reshape(-1, 2)
    planted = set()
    for number, (i, j) in enumerate(places.tolist()):
        distance = number % (radius + 2)
        bits = rng.choice(64, distance, replace=False).tolist()
        hashes[j] = hashes[i] ^ np.uint64(sum(1 << bit for bit in bits))
        if distance <= radius:
            planted.add((min(i, j), max(i, j), distance))
    assert set(listed(near_pairs(hashes, radius))) == planted


def test_many_frames_of_one_video_give_no_pairs_and_little_memory() -> None:
    frames = clustered(3, 3000)[0]
    stranger = frames[:1] ^ np.uint64(1)
    groups = np.r_[np.zeros(3000, np.int64), 1]
    found = near_pairs(np.r_[frames, stranger], 6, groups)
    assert set(found.j.tolist()) == {3000}
    assert 0 < len(found) <= 3000


def test_a_hash_that_many_share_comes_in_blocks() -> None:
    hashes = np.full(3000, 5, np.uint64)
    hashes[1500:] = 7
    blocks = [len(block) for block in iter_near_pairs(hashes, 1)]
    assert sum(blocks) == 3000 * 2999 // 2
    assert len(blocks) >= 3


@pytest.mark.parametrize("radius", [-1, 17])
def test_a_radius_out_of_range_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match="radius"):
        near_pairs(np.zeros(2, np.uint64), radius)
