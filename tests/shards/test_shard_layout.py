"""Which shard a row goes into."""

from __future__ import annotations

import random
from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.schema import Split
from mmidd.shards.layout import Planned, expected_bytes, plan_shards

PAIRS = st.sampled_from([None, *(f"pair{i}" for i in range(8))])


def rows_of(pairs: list[str | None], lengths: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(len(pairs))],
            "split": [("train", "test")[i % 7 == 6] for i in range(len(pairs))],
            "pair_id": pl.Series(pairs, dtype=pl.String),
            "length": lengths[: len(pairs)],
        }
    )


def members(planned: list[Planned]) -> dict[str, list[str]]:
    return {shard.name: shard.rows["sample_id"].to_list() for shard in planned}


@settings(max_examples=60)
@given(st.lists(PAIRS, min_size=1, max_size=50), st.integers(0, 5), st.integers(5_000, 200_000))
def test_families_lie_together_and_every_row_in_one_shard(
    pairs: list[str | None], seed: int, target: int
) -> None:
    rows = rows_of(pairs, [10_000] * len(pairs))
    planned = plan_shards(rows, seed, target)
    places = pl.concat(shard.rows.with_columns(shard=pl.lit(shard.name)) for shard in planned)
    assert places.select(rows.columns).sort("sample_id").equals(rows.sort("sample_id"))
    assert all(set(shard.rows["split"]) <= {shard.split.value} for shard in planned)
    families = places.drop_nulls("pair_id").group_by("split", "pair_id").agg(pl.col("shard").n_unique())
    assert families["shard"].eq(1).all()
    for split in (Split.TRAIN, Split.TEST):
        names = [shard.name for shard in planned if shard.split is split]
        assert names == [f"{split.value}-{i:05d}.tar" for i in range(len(names))]
        assert len(names).bit_count() <= 1


@settings(max_examples=30)
@given(st.lists(PAIRS, min_size=2, max_size=40), st.randoms(use_true_random=False), st.data())
def test_shards_depend_neither_on_the_order_of_the_rows_nor_on_other_rows(
    pairs: list[str | None], shuffler: random.Random, data: st.DataObject
) -> None:
    rows = rows_of(pairs, [10_000] * len(pairs))
    before = members(plan_shards(rows, 3, 30_000))
    order = list(range(len(pairs)))
    shuffler.shuffle(order)
    assert members(plan_shards(rows[order], 3, 30_000)) == before
    gone = f"s{data.draw(st.integers(0, len(pairs) - 1))}"
    after = members(plan_shards(rows.filter(pl.col("sample_id") != gone), 3, 30_000))
    if after.keys() == before.keys():
        assert after == {name: [key for key in keys if key != gone] for name, keys in before.items()}


def test_the_mean_size_is_at_most_the_target_and_more_than_half_of_it() -> None:
    rows = rows_of([None] * 3000, [10_000 + i for i in range(3000)])
    for split, part in rows.group_by("split"):
        shards = [shard for shard in plan_shards(rows, 0, 1_000_000) if shard.split.value == split[0]]
        assert 0.5e6 < expected_bytes(part) / len(shards) <= 1e6


def test_there_are_no_more_shards_than_families_need() -> None:
    rows = rows_of(["one"] * 20, [10_000] * 20)
    assert len([s for s in plan_shards(rows, 0, 20_000) if s.split is Split.TRAIN]) == 1


def test_the_order_within_a_shard_mixes_families() -> None:
    rows = rows_of([f"pair{i // 50}" for i in range(500)], [10_000] * 500)
    (shard,) = [s for s in plan_shards(rows, 0, 1 << 40) if s.split is Split.TRAIN]
    pairs = shard.rows["pair_id"].to_list()
    neighbours = sum(a == b for a, b in pairwise(pairs)) / len(pairs)
    assert neighbours < 0.2
