"""Batches without two draws of one family."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmidd.shards.plan import Epoch, Sampler
from mmidd.shards.sampling import Sampling
from tests.shards.columns import columns


def clashes(plan: Epoch, family: np.ndarray) -> int:
    """Counted one batch after the other."""
    batches = [family[plan.batch_at(step)] for step in range(plan.steps)]
    return sum(len(batch) - len(set(batch)) for batch in batches)


def plan(family: list[int], label: list[str], batch: int, apart: str | None, seed: int = 0) -> Epoch:
    given = columns(video_id=[f"v{f}" for f in family], label=label)
    return Sampler(given, Sampling.model_validate({"by": ["label"], "apart": apart}), seed, batch).epoch(0)


def test_videos_stay_apart_where_they_can() -> None:
    family = [n // 8 for n in range(640)]
    label = ["real", "fake"] * 320
    mixed, apart = (plan(family, label, 32, how) for how in (None, "video"))
    assert clashes(mixed, np.array(family)) > 20
    assert clashes(apart, np.array(family)) == apart.clashes == 0


def test_a_family_larger_than_the_epoch_is_counted() -> None:
    family = [0] * 30 + list(range(1, 31))
    apart = plan(family, ["real"] * 60, 6, "video")
    assert apart.clashes == clashes(apart, np.array(family)) == 20


@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.integers(1, 9), st.integers(0, 2**31))
def test_swaps_change_neither_what_is_drawn_nor_the_shares(family: list[int], batch: int, seed: int) -> None:
    label = ["real" if n % 3 else "fake" for n in range(len(family))]
    before, after = (plan(family, label, batch, how, seed) for how in (None, "video"))
    assert sorted(before.draws.ravel()) == sorted(after.draws.ravel())
    real = np.array(label) == "real"
    assert (real[before.draws] == real[after.draws]).all()
    assert after.clashes == clashes(after, np.array(family)) <= clashes(before, np.array(family))


def test_samples_without_a_video_clash_with_none() -> None:
    given = columns(video_id=[None] * 20, label=["real"] * 20)
    assert Sampler(given, Sampling(apart="video"), 0, 5).epoch(0).clashes == 0
