from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.errors import UsageError
from mmidd.shards.plan import EpochPlan, Indices, balance_groups

counts = st.integers(1, 200)
seeds = st.integers(0, 2**32)
worlds = st.integers(1, 6)
per_rank = st.integers(1, 9)


def plans(groups: Indices, world_size: int, per_rank: int, seed: int, epoch: int = 0) -> list[EpochPlan]:
    """The plans of every rank."""
    return [
        EpochPlan(groups, seed, epoch, world_size * per_rank, world_size, rank) for rank in range(world_size)
    ]


@given(counts, worlds, per_rank, seeds)
def test_every_sample_exactly_once_but_for_the_declared_repeats(
    count: int, world_size: int, per_rank: int, seed: int
) -> None:
    ranks = plans(np.zeros(count, dtype=np.int64), world_size, per_rank, seed)
    seen = Counter(i for plan in ranks for batch in plan.batches() for i in batch)
    assert seen.keys() == set(range(count))
    assert seen.total() == count + ranks[0].repeats
    assert ranks[0].repeats < world_size
    assert world_size > 1 or set(seen.values()) == {1}


@given(counts, worlds, per_rank, seeds)
def test_ranks_go_in_step_with_equal_batches(count: int, world_size: int, per_rank: int, seed: int) -> None:
    ranks = plans(np.zeros(count, dtype=np.int64), world_size, per_rank, seed)
    sizes = {tuple(len(batch) for batch in plan.batches()) for plan in ranks}
    assert len(sizes) == 1
    (steps,) = sizes
    assert len(steps) == ranks[0].steps
    assert all(size == per_rank for size in steps[:-1])
    assert 1 <= steps[-1] <= per_rank


@given(counts, st.integers(1, 4), worlds, worlds, seeds, st.data())
def test_resuming_on_another_world_size_goes_on_where_it_stopped(
    count: int, unit: int, before: int, after: int, seed: int, data: st.DataObject
) -> None:
    groups = np.arange(count) % 3
    batch = unit * before * after
    first = [EpochPlan(groups, seed, 2, batch, before, rank) for rank in range(before)]
    second = [EpochPlan(groups, seed, 2, batch, after, rank) for rank in range(after)]
    stop = data.draw(st.integers(0, first[0].steps))
    assert first[0].steps == second[0].steps
    done = [i for step in range(stop) for plan in first for i in plan.batch_at(step)]
    rest = list(zip(*(plan.batches(start=stop) for plan in second), strict=True))
    drawn = done + [i for step in rest for share in step for i in share]
    assert drawn[: len(first[0].order)] == first[0].order.tolist()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), seeds, st.integers(0, 5))
def test_balanced_epochs_are_exact(sizes: list[int], seed: int, epoch: int) -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = EpochPlan(groups, seed, epoch, batch=4).order
    drawn = Counter(order.tolist())
    longest = max(sizes)
    assert drawn.keys() == set(range(len(groups)))
    for group, size in enumerate(sizes):
        uses = [drawn[i] for i in np.flatnonzero(groups == group)]
        assert sum(uses) == longest
        assert set(uses) <= {longest // size, -(-longest // size)}
    turns = groups[order].reshape(longest, len(sizes))
    assert (np.sort(turns, axis=1) == np.arange(len(sizes))).all()


def test_order_depends_on_seed_and_epoch_alone() -> None:
    groups = np.zeros(50, dtype=np.int64)
    first = EpochPlan(groups, 1, 0, 10).order
    assert np.array_equal(first, EpochPlan(groups, 1, 0, 5, world_size=5, rank=3).order)
    assert not np.array_equal(first, EpochPlan(groups, 1, 1, 10).order)
    assert not np.array_equal(first, EpochPlan(groups, 2, 0, 10).order)


def test_position_in_the_epoch_is_uniform() -> None:
    groups = np.zeros(8, dtype=np.int64)
    first = Counter(int(EpochPlan(groups, seed, 0, 1).order[0]) for seed in range(4000))
    assert all(abs(first[i] - 500) < 5 * np.sqrt(4000 * 7 / 64) for i in range(8))


def test_groups_follow_the_column() -> None:
    rows = pl.DataFrame({"label": ["real", "fake", "fake"], "type": ["REAL", "FS", "FR"]})
    assert balance_groups(rows, "none").tolist() == [0, 0, 0]
    assert balance_groups(rows, "label").tolist() == [1, 0, 0]
    assert balance_groups(rows, "type").tolist() == [2, 1, 0]


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 3"):
        EpochPlan(np.zeros(4, dtype=np.int64), 0, 0, batch=8, world_size=3)
    with pytest.raises(UsageError, match="no samples"):
        EpochPlan(np.zeros(0, dtype=np.int64), 0, 0, batch=8)
