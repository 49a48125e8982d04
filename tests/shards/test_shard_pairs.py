"""Paired epochs: every fake once, beside its own real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mmidd.shards.plan import Epoch, Sampler
from mmidd.shards.sampling import Sampling
from tests.shards.columns import columns

ITEMS = [
    ("real", "a", 0),
    ("real", "a", 10),
    ("fake", "a", 9),
    ("fake", "a", 1),
    ("fake", "b", 0),
    ("real", "c", None),
]


def paired(
    items: Sequence[tuple[str, str, int | None]], batch: int = 2, number: int = 0, **more: Any
) -> Epoch:
    table = pl.DataFrame(list(items), schema=["label", "pair_id", "frame_index"], orient="row")
    given = {name: table[name].to_list() for name in table.columns}
    shard = {"shard": [f"train-0000{i % 3}.tar" for i in range(len(items))]}
    return Sampler(columns(**given, **shard), Sampling(pair=True, **more), 3, batch).epoch(number)


def test_a_fake_meets_the_nearest_frame_of_its_original() -> None:
    assert set(map(tuple, paired(ITEMS).draws.tolist())) == {(2, 1), (3, 0), (4, 5)}


items = st.lists(
    st.tuples(st.sampled_from(["real", "fake"]), st.sampled_from("abc"), st.integers(0, 5)), min_size=1
)


@given(items, st.integers(1, 4), st.sampled_from([None, 1, 2]))
def test_every_fake_once_beside_the_real_that_brute_force_finds(
    drawn: list[tuple[str, str, int]], half: int, window: int | None
) -> None:
    table = [("real", "a", 0), ("fake", "b", 0), *drawn]
    plan = paired(table, 2 * half, 1, window=window)
    fakes, reals = plan.draws.T.tolist()
    assert sorted(fakes) == [i for i, row in enumerate(table) if row[0] == "fake"]
    assert all(table[real][0] == "real" for real in reals)
    for fake, real in zip(fakes, reals, strict=True):
        _, pair, frame = table[fake]
        own = [(abs(t - frame), t, i) for i, (kind, p, t) in enumerate(table) if kind == "real" and p == pair]
        assert not own or min(own)[2] == real
    assert (
        np.concatenate([plan.batch_at(step) for step in range(plan.steps)]).tolist()
        == plan.draws.ravel().tolist()
    )


def test_a_rank_gets_whole_pairs() -> None:
    plan = paired([("real", "a", 0)] + [("fake", "a", n) for n in range(10)], batch=8)
    for step in range(plan.steps):
        shares = [plan.batch_at(step, rank, 3 if step == 0 else 2) for rank in range(2)]
        assert all(len(share) % 2 == 0 and (share[1::2] == 0).all() for share in shares)


def test_reals_without_a_fake_stand_in_by_turns() -> None:
    table = [("real", f"r{n}", 0) for n in range(3)] + [("fake", f"f{n}", 0) for n in range(9)]
    assert np.bincount(paired(table).draws[:, 1]).tolist() == [3, 3, 3]
    table = [("real", f"r{n}", 0) for n in range(3)] + [("fake", f"f{n}", 0) for n in range(9)]
    assert np.bincount(paired(table).draws[:, 1]).tolist() == [3, 3, 3]


def test_a_stand_in_comes_from_the_window() -> None:
    table = [("real", f"r{n}", 0) for n in range(30)] + [("fake", f"f{n}", 0) for n in range(30)]
    fakes, reals = paired(table, window=1).draws.T
    assert (fakes % 3 == reals % 3).all(), "the shard of a sample is its index modulo 3"
