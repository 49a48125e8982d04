"""How alike two models see the same images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mmidd.errors import UsageError
from mmidd.evaluation.metrics import Floats

_FEWEST = 4


def linear_cka(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Linear centred kernel alignment of features (N, C) and (N, D) of the same images, at most 1.

    Kornblith et al. 2019 (arXiv 1905.00414) with the unbiased HSIC of Song et al. 2012 (JMLR 13), as in
    Nguyen et al. 2021 (arXiv 2010.15327): the biased one nears 1 wherever there are fewer images than
    features. It takes no notice of shifts, rotations and one common scale; unrelated features give about 0,
    on either side; NaN where one of the two is the same for all images.

    Raises:
        UsageError: fewer than four images.
    """
    if len(first) < _FEWEST:
        raise UsageError(f"{len(first)} images are too few to compare features on; take {_FEWEST} or more")
    x, y = (_scaled(features) for features in (first, second))
    own = _hsic(x, x) * _hsic(y, y)
    return _hsic(x, y) / math.sqrt(own) if own > 0 else math.nan


def _scaled(features: NDArray[np.float32]) -> Floats:
    """Centred, and of length 1 in the mean, which changes nothing but the rounding."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    size = np.sqrt((centred**2).sum() / len(centred))
    relative = size / max(float(np.abs(features).max()), np.finfo(np.float64).tiny)
    return centred / size if relative > 1e-6 else np.zeros_like(centred)


def _hsic(x: Floats, y: Floats) -> float:
    """Of K = XX' and L = YY' without their diagonals, for which no matrix of all pairs is made.

    (tr KL + 1'K1 1'L1 / (n-1)(n-2) - 2 1'KL1 / (n-2)) / n(n-3)
    """
    n = len(x)
    rows_x, diagonal_x = _rows(x)
    rows_y, diagonal_y = _rows(y)
    trace = ((x.T @ y) ** 2).sum() - diagonal_x @ diagonal_y
    sums = rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2))
    return float(trace + sums - 2 * (rows_x @ rows_y) / (n - 2)) / (n * (n - 3))


def _rows(x: Floats) -> tuple[Floats, Floats]:
    """Of XX': sums of the rows without the diagonal, and the diagonal."""
    diagonal = (x**2).sum(axis=1)
    return x @ x.sum(axis=0) - diagonal, diagonal
