"""Fewer reals: which are chosen, for whom, and what is left as it is."""

from __future__ import annotations

import itertools
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mmidd.errors import UsageError
from mmidd.schema import Split
from mmidd.training.config import apply_overrides, load_preset
from mmidd.training.fewer import spread
from mmidd.training.online import OnlineSamples
from tests.training.test_training_online import faces

Shape = list[list[int]]
"""Of every person the frames of each video."""


def people(shape: Shape) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "key": f"{person}-{video}-{frame}",
                "video_id": f"{person}-{video}",
                "identity_ids": [f"{person}"],
            }
            for person, videos in enumerate(shape)
            for video, frames in enumerate(videos)
            for frame in range(frames)
        ]
    )


def chosen(rows: pl.DataFrame, count: int, seed: int = 0) -> list[str]:
    return rows["key"].gather(spread(rows, count, seed).tolist()).to_list()


SHAPES = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=6)


@given(shape=SHAPES, seed=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_smaller_choice_lies_within_every_larger_one(shape: Shape, seed: int) -> None:
    rows = people(shape)
    choices = [{*chosen(rows, count, seed)} for count in range(1, len(rows) + 1)]
    for count, (fewer, more) in enumerate(itertools.pairwise(choices), 1):
        assert len(fewer) == count
        assert fewer < more


@given(shape=SHAPES, share=st.floats(0.1, 1))
@settings(max_examples=30, deadline=None)
def test_nobody_gives_a_second_real_before_everyone_gave_the_first(shape: Shape, share: float) -> None:
    rows = people(shape)
    keys = chosen(rows, max(1, round(share * len(rows))))
    for depth, sizes in ((1, [sum(videos) for videos in shape]), (2, None)):
        given_by = Counter(tuple(key.split("-")[:depth]) for key in keys)
        if sizes is not None:  # a person stays behind only where there is no more of them
            most = max(given_by.values())
            assert all(given_by[str(p),] >= min(most - 1, size) for p, size in enumerate(sizes))
            continue
        for person, videos in enumerate(shape):
            counts = [given_by[str(person), str(video)] for video in range(len(videos))]
            assert all(n >= min(max(counts) - 1, size) for n, size in zip(counts, videos, strict=True))


def test_the_choice_depends_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    rows = people([[3, 3]] * 8)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1)
    assert {*chosen(rows, 6)} == {*chosen(shuffled, 6)}
    assert len({tuple(chosen(rows, 6, seed)) for seed in range(4)}) == 4


def test_a_video_without_a_person_counts_as_one_of_its_own() -> None:
    rows = people([[4], *([[1]] * 3)])
    nameless = pl.when(pl.col("video_id") == "0-0").then(pl.col("identity_ids"))
    assert {*chosen(rows.with_columns(nameless), 4)} > {f"{number}-0-0" for number in (1, 2, 3)}


def test_more_reals_than_there_are_is_an_error() -> None:
    with pytest.raises(UsageError, match="has 3 reals with landmarks, and reals asks for 4"):
        spread(people([[3]]), 4, 0)


def test_pairs_are_drawn_from_the_chosen_reals_alone_in_every_epoch() -> None:
    data = faces(Split.TRAIN, 6, bare=2)
    owners = [[key] for key in data.rows["key"]]
    data.rows = data.rows.with_columns(identity_ids=pl.Series(owners))
    all_of_them, two, three = (OnlineSamples(data, ("sbi",), 0, count=n) for n in (None, 2, 3))
    assert (len(all_of_them), len(two), len(three)) == (8, 4, 6)
    assert {*two.rows["pair_id"]} < {*three.rows["pair_id"]} < {*all_of_them.rows["pair_id"]}
    assert two.at(3).rows["key"].equals(two.rows["key"])
    assert len({samples.identity for samples in (all_of_them, two, three)}) == 3


def test_reals_without_forgeries_drawn_online_is_an_error() -> None:
    with pytest.raises((UsageError, ValidationError), match="set online"):
        apply_overrides(load_preset("full", "tiny"), ["reals=5"])
