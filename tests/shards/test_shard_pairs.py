"""Paired epochs: every fake once, beside its own real."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.errors import UsageError
from mmidd.shards.pairs import PairedPlan


def rows(items: list[tuple[str, str, int | None]]) -> pl.DataFrame:
    return pl.DataFrame(items, schema=["label", "pair_id", "frame_index"], orient="row")


EXAMPLE = rows(
    [
        ("real", "a", 0),
        ("real", "a", 10),
        ("fake", "a", 9),
        ("fake", "a", 1),
        ("fake", "b", 0),
        ("real", "c", None),
    ]
)


def test_a_fake_meets_the_nearest_frame_of_its_original() -> None:
    pairs = set(map(tuple, PairedPlan(EXAMPLE, 0, 0, 2).batches()))
    assert pairs == {(2, 1), (3, 0), (4, 5)}


def test_bad_plans_are_refused() -> None:
    with pytest.raises(UsageError, match="even batch"):
        PairedPlan(EXAMPLE, 0, 0, 3)
    with pytest.raises(UsageError, match="reals and fakes"):
        PairedPlan(EXAMPLE.filter(pl.col("label") == "fake"), 0, 0, 2)


@given(
    st.lists(
        st.tuples(st.sampled_from(["real", "fake"]), st.sampled_from("abc"), st.integers(0, 3)), min_size=1
    ),
    st.integers(1, 4),
    st.integers(0, 5),
)
def test_every_fake_once_every_second_a_real_and_resumable(
    items: list[tuple[str, str, int]], half: int, start: int
) -> None:
    table = rows([("real", "a", 0), ("fake", "b", 0), *items])
    plan = PairedPlan(table, 3, 1, 2 * half)
    order, label = plan.order, table["label"].to_numpy()
    assert sorted(order[::2]) == np.nonzero(label == "fake")[0].tolist()
    assert (label[order[1::2]] == "real").all()
    with_original = set(table.filter(pl.col("label") == "real")["pair_id"])
    pair = table["pair_id"].to_numpy()
    for fake, real in zip(order[::2], order[1::2], strict=True):
        assert pair[fake] == pair[real] or pair[fake] not in with_original
    assert list(plan.batches(start)) == list(plan.batches())[start:]
    assert np.concatenate([*plan.batches()]).tolist() == order.tolist()
    assert not np.array_equal(order, PairedPlan(table, 3, 2, 2).order) or len(order) < 12
