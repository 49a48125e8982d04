"""Every fake beside its own real: what differs within a pair is the forgery."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmidd.shards.sampling import Codes, Columns, encode


def originals(columns: Columns, real: NDArray[np.bool_]) -> Codes:
    """Index of the real frame nearest in time among those with the same `pair_id`, for each sample.

    Of two equally near ones the earlier counts; -1 where there is none, and for reals.
    """
    pair = encode(columns.column("pair_id"))[1].astype(np.int64)
    frame = np.asarray(columns.column("frame_index").cast("int64").fill_null(0))
    reach = int(frame.max(initial=0)) + 1
    reals = np.flatnonzero(real & (pair >= 0))
    found = np.full(len(real), -1, dtype=np.int32)
    fakes = np.flatnonzero(~real & (pair >= 0))
    if not len(reals):
        return found
    when = pair[reals] * reach + frame[reals]
    reals = reals[np.argsort(when, kind="stable")]
    when = np.sort(when)
    wanted = pair[fakes] * reach + frame[fakes]
    place = np.searchsorted(when, wanted)
    before = np.searchsorted(when, when[(place - 1).clip(min=0)])  # the first of equal frames
    after = place.clip(max=len(when) - 1)
    gaps = [
        np.where(pair[reals[side]] == pair[fakes], np.abs(when[side] - wanted), np.iinfo(np.int64).max)
        for side in (before, after)
    ]
    nearest = np.where(gaps[0] <= gaps[1], before, after)
    has_one = np.minimum(*gaps) < np.iinfo(np.int64).max
    found[fakes[has_one]] = reals[nearest[has_one]]
    return found


def with_partners(
    fakes: Codes, original: Codes, real: NDArray[np.bool_], window: Codes | None, rng: np.random.Generator
) -> Codes:
    """A real (units,) for every fake that is drawn.

    Where a fake's original is not in the data it takes the next of the reals that are no fake's original,
    or of all reals where there are none such, so that these are seen too; within a window of shards, those
    of the window.
    """
    partner = original[fakes]
    missing = np.flatnonzero(partner < 0)
    reals = np.flatnonzero(real).astype(np.int32)
    lonely = np.setdiff1d(reals, original)
    pool = rng.permutation(lonely if len(lonely) else reals)
    if window is None:
        partner[missing] = np.resize(pool, len(missing))
        return partner
    for number in np.unique(window[fakes[missing]]):
        here = missing[window[fakes[missing]] == number]
        near = pool[window[pool] == number]
        partner[here] = np.resize(near if len(near) else pool, len(here))
    return partner
