"""Linear CKA against Gram matrices, and what it takes no notice of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmidd.errors import UsageError
from mmidd.evaluation.similarity import linear_cka

Matrix = NDArray[np.float32]


def features(seed: int, n: int, width: int, *, shift: float = 0.0) -> Matrix:
    return (np.random.default_rng(seed).normal(size=(n, width)) + shift).astype(np.float32)


def by_gram_matrices(first: Matrix, second: Matrix) -> float:
    """Song et al. 2012, equation 5, with loops instead of products where they differ."""

    def hsic(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        n = len(a)
        one = np.ones(n)
        both = sum(a[i, j] * b[j, i] for i in range(n) for j in range(n))
        sums = float((one @ a @ one) * (one @ b @ one)) / ((n - 1) * (n - 2))
        return float(both + sums - 2 / (n - 2) * (one @ a @ b @ one)) / (n * (n - 3))

    k, l2 = (x.astype(np.float64) @ x.astype(np.float64).T for x in (first, second))
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l2, 0)
    return hsic(k, l2) / math.sqrt(hsic(k, k) * hsic(l2, l2))


SIZES = st.integers(4, 12)
SEEDS = st.integers(0, 2**16)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIZES, st.integers(1, 6), st.integers(1, 6), st.floats(-3, 3))
def test_it_is_its_definition(seed: int, n: int, first: int, second: int, shift: float) -> None:
    x, y = features(seed, n, first, shift=shift), features(seed + 1, n, second)
    assert linear_cka(x, y) == pytest.approx(by_gram_matrices(x, y), abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(5, 12), st.integers(2, 6), st.sampled_from([1e-3, 1.0, 250.0]), st.floats(-2, 2))
def test_rotations_a_common_scale_and_shifts_change_nothing(
    seed: int, n: int, width: int, scale: float, shift: float
) -> None:
    x, y = features(seed, n, width), features(seed + 1, n, 3) + features(seed, n, width)[:, :1]
    turn, _ = np.linalg.qr(features(seed + 2, width, width).astype(np.float64))
    turned = (scale * (x @ turn + shift)).astype(np.float32)
    assert linear_cka(turned, y) == pytest.approx(linear_cka(x, y), abs=1e-3)
    assert linear_cka(y, x) == pytest.approx(linear_cka(x, y), abs=1e-9)
    assert linear_cka(turned, x) == pytest.approx(1, abs=1e-3)
    assert abs(linear_cka(x, y)) <= 1 + 1e-9


def test_other_linear_maps_change_it() -> None:
    x = features(0, 50, 4)
    stretched = x * np.array([30, 1, 1, 1], np.float32)
    assert linear_cka(x, stretched) < 0.7


def test_unrelated_features_are_unlike_however_wide_they_are() -> None:
    found = [linear_cka(features(seed, 20, 400), features(seed + 500, 20, 400)) for seed in range(40)]
    assert abs(np.mean(found)) < 0.06
    assert max(np.abs(found)) < 0.4


def test_a_feature_that_is_always_the_same_is_like_nothing() -> None:
    same = np.full((6, 3), 0.1, np.float32)
    assert math.isnan(linear_cka(same, features(0, 6, 3)))
    assert math.isnan(linear_cka(same, same))


def test_three_images_are_too_few() -> None:
    with pytest.raises(UsageError, match="3 images are too few"):
        linear_cka(features(0, 3, 2), features(1, 3, 2))
