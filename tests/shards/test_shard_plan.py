"""Plans: what an epoch draws, how it is cut into batches, and how ranks share these."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.errors import UsageError
from mmidd.shards.plan import Epoch, Sampler
from mmidd.shards.sampling import Sampling
from tests.shards.columns import columns

counts = st.integers(1, 200)
seeds = st.integers(0, 2**32)
worlds = st.integers(1, 6)
per_rank = st.integers(2, 9)


def epoch(number: int = 0, *, batch: int, seed: int = 0, sampling: Any = None, **given: Any) -> Epoch:
    return Sampler(columns(**given), Sampling.model_validate(sampling or {}), seed, batch).epoch(number)


def bare(count: int, batch: int, seed: int = 0, number: int = 0) -> Epoch:
    return epoch(number, batch=batch, seed=seed, label=["real"] * count)


@given(counts, worlds, per_rank, seeds)
def test_every_sample_exactly_once_in_equal_steps(count: int, world: int, each: int, seed: int) -> None:
    plan = bare(count, world * each, seed)
    if count < world:
        with pytest.raises(UsageError, match="fewer ranks"):
            plan.batch_at(0, 0, world)
        return
    shares = [[plan.batch_at(step, rank, world) for rank in range(world)] for step in range(plan.steps)]
    assert sorted(i for step in shares for share in step for i in share) == list(range(count))
    sizes = [[len(share) for share in step] for step in shares]
    assert all(max(step) - min(step) <= 1 and min(step) >= 1 for step in sizes)
    totals = [sum(step) for step in sizes]
    assert all(total == world * each for total in totals[:-2])
    assert plan.steps == 1 or world * each >= totals[-2] >= totals[-1] >= world * each // 2


@given(counts, st.integers(1, 4), worlds, worlds, seeds, st.data())
def test_resuming_on_another_world_size_goes_on_where_it_stopped(
    count: int, unit: int, before: int, after: int, seed: int, data: st.DataObject
) -> None:
    plan = bare(count + 12, 2 * unit * before * after, seed, number=2)
    stop = data.draw(st.integers(0, plan.steps))
    steps = [(step, before if step < stop else after) for step in range(plan.steps)]
    drawn = [i for step, world in steps for rank in range(world) for i in plan.batch_at(step, rank, world)]
    assert drawn == plan.draws.ravel().tolist()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), seeds, st.integers(0, 5))
def test_balanced_epochs_are_exact(sizes: list[int], seed: int, number: int) -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    plan = epoch(number, batch=4, seed=seed, sampling={"by": ["source"]}, source=[str(g) for g in groups])
    order = plan.draws.ravel()
    drawn, longest = Counter(order.tolist()), max(sizes)
    assert drawn.keys() == set(range(len(groups)))
    for group, size in enumerate(sizes):
        uses = [drawn[i] for i in np.flatnonzero(groups == group).tolist()]
        assert sum(uses) == longest
        assert set(uses) <= {longest // size, -(-longest // size)}
    turns = groups[order].reshape(longest, len(sizes))
    assert (np.sort(turns, axis=1) == np.arange(len(sizes))).all()


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=4),
    st.floats(0, 1),
    st.lists(st.floats(0.3, 3), min_size=4, max_size=4),
    st.integers(1, 20),
    seeds,
)
def test_every_batch_holds_the_declared_shares(
    sizes: list[int], exponent: float, weights: list[float], batch: int, seed: int
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    given = dict(zip("abcd", weights, strict=True))
    level = {"column": "source", "exponent": exponent, "weights": {n: given[n] for n in "abcd"[: len(sizes)]}}
    plan = epoch(batch=batch, seed=seed, sampling={"by": [level]}, source=["abcd"[g] for g in groups])
    share = np.array([w * n**exponent for w, n in zip(weights, sizes, strict=False)])
    share /= share.sum()
    drawn = np.bincount(groups[plan.draws.ravel()], minlength=len(sizes))
    total = max(n / s for n, s in zip(sizes, share, strict=True))
    assert np.abs(drawn - share * total).max() <= 0.5 + 1e-6
    assert set(plan.draws.ravel()) == set(range(len(groups)))
    for low, high in zip(plan.cuts[:-1], plan.cuts[1:], strict=True):
        held = np.bincount(groups[plan.draws[low:high, 0]], minlength=len(sizes))
        expected = drawn / drawn.sum() * (high - low)
        assert np.abs(held - expected).max() < 2 + len(sizes)


def test_levels_nest() -> None:
    given: Any = {"label": ["real"] * 4 + ["fake"] * 96, "source": ["a"] * 4 + ["b"] * 80 + ["c"] * 16}
    by = ["label", {"column": "source", "exponent": 0.5}]
    order = epoch(batch=8, sampling={"by": by, "draws": 1000}, **given).draws.ravel()
    drawn = Counter(np.array(given["source"])[order].tolist())
    assert drawn["a"] == 500
    assert (drawn["b"], drawn["c"]) == (345, 155), "80^.5 : 16^.5 of the other half"


def test_a_weight_for_what_does_not_occur_is_refused() -> None:
    by = [{"column": "source", "weights": {"celeba": 2}}]
    with pytest.raises(UsageError, match=r"'celeba' does not occur; there are a, b"):
        epoch(batch=2, sampling={"by": by}, source=["a", "b"])


def test_a_null_is_a_group_of_its_own() -> None:
    plan = epoch(batch=2, sampling={"by": ["method"]}, method=["x", "x", "x", None])
    assert sorted(plan.draws.ravel().tolist()) == [0, 1, 2, 3, 3, 3]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first = bare(50, 10, seed=1).draws
    assert np.array_equal(first, bare(50, 7, seed=1).draws)
    assert not np.array_equal(first, bare(50, 10, seed=1, number=1).draws)
    assert not np.array_equal(first, bare(50, 10, seed=2).draws)


def test_position_in_the_epoch_is_uniform() -> None:
    first = Counter(int(bare(8, 1, seed).draws[0, 0]) for seed in range(4000))
    assert all(abs(first[i] - 500) < 5 * np.sqrt(4000 * 7 / 64) for i in range(8))


def test_fewer_draws_than_samples_take_others_in_every_epoch() -> None:
    first, second = (
        set(epoch(n, batch=4, sampling={"draws": 20}, label=["real"] * 100).draws.ravel()) for n in (0, 1)
    )
    assert len(first) == len(second) == 20
    assert first != second


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 6), seeds, st.sampled_from([[], ["label"]]))
def test_a_window_mixes_so_many_shards_at_a_time(
    shards: int, window: int, each: int, seed: int, by: list[str]
) -> None:
    shard = np.repeat(np.arange(shards), 2 * each)
    given: Any = {"shard": [f"train-{n:05d}.tar" for n in shard], "label": ["real", "fake"] * (shards * each)}
    plan = epoch(batch=4, seed=seed, sampling={"window": window, "by": by}, **given)
    order = plan.draws.ravel()
    assert sorted(order) == list(range(len(shard)))
    size = window * 2 * each
    for start in range(0, len(order), size):
        assert len(set(shard[order[start : start + size]])) <= window


def test_windows_differ_between_epochs() -> None:
    given: Any = {"shard": [f"train-{n // 4:05d}.tar" for n in range(80)]}
    orders = [epoch(n, batch=4, sampling={"window": 2}, **given).draws[:8, 0] // 4 for n in range(3)]
    assert len({tuple(sorted(set(order))) for order in orders}) > 1


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(UsageError, match="no samples"):
        epoch(batch=8, label=[])
    with pytest.raises(UsageError, match="even batch"):
        epoch(batch=3, sampling={"pair": True}, label=["real", "fake"])
    with pytest.raises(UsageError, match="reals and fakes"):
        epoch(batch=2, sampling={"pair": True}, label=["fake", "fake"])
