"""Batches in which no two draws belong to one family."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmidd.shards.sampling import Codes

_PATIENCE = 20
"""Rounds without any clash less after which the rest is left as it is."""


def keep_apart(
    draws: Codes, cuts: NDArray[np.int64], family: Codes, stratum: Codes, rng: np.random.Generator
) -> int:
    """Swap draws between batches, in place, until no batch holds two of one family.

    Draws are swapped within a stratum only, so every batch keeps what it has of each. Gives the number of
    draws for which that is impossible, as where a family has more draws than there are batches, or was not
    found.

    Args:
        draws: (units,) sample indices, changed in place.
        cuts: where the batches begin and end.
        family: (samples,) number of each sample's family.
        stratum: (units,) which draws may be swapped.
        rng: makes the choice.
    """
    batch = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    by_stratum = np.argsort(stratum, kind="stable")
    sizes = np.bincount(stratum)
    first = np.cumsum(sizes) - sizes
    least, waited = len(draws) + 1, 0
    while True:
        held = batch * (int(family.max()) + 1) + family[draws]
        known, places = np.unique(held, return_index=True)
        clash = np.setdiff1d(np.arange(len(draws)), places, assume_unique=True)
        waited = 0 if len(clash) < least else waited + 1
        least = min(least, len(clash))
        if not len(clash) or waited == _PATIENCE:
            return len(clash)
        here = stratum[clash]
        other = by_stratum[first[here] + (rng.random(len(clash)) * sizes[here]).astype(np.int64)]
        _swap(draws, clash, other, batch, family, known)


def _swap(
    draws: Codes,
    clash: NDArray[np.int64],
    other: NDArray[np.int64],
    batch: NDArray[np.int64],
    family: Codes,
    known: NDArray[np.int64],
) -> None:
    """Swap each clashing draw with its other where neither batch has the other's family yet."""
    families = int(family.max()) + 1
    new_there = ~np.isin(batch[other] * families + family[draws[clash]], known)
    new_here = ~np.isin(batch[clash] * families + family[draws[other]], known)
    good = new_there & new_here & ~np.isin(other, clash)
    clash, other = clash[good], other[good]
    other, once = np.unique(other, return_index=True)
    clash = clash[once]
    draws[clash], draws[other] = draws[other], draws[clash]
