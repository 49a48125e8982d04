"""Masks against floating-point computations of what the recipe says, and their invariants."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import ConvexHull
from scipy.stats import kurtosis

from mmidd.errors import DataError
from mmidd.preprocess.blend.masks import Mask, displacement, elastic, hull_mask, soften
from mmidd.preprocess.blend.recipe import RECIPES, Softening
from mmidd.preprocess.blend.regions import HULLS, hull_points
from tests.preprocess_blend.faces import SIDE, marks


def face() -> Mask:
    return hull_mask([marks().points], SIDE, SIDE)


def drawn_softening(seed: int) -> Softening:
    return RECIPES["sbi"](np.random.default_rng(seed)).soften


@pytest.mark.parametrize("family", sorted(HULLS))
def test_hulls_equal_brute_force_point_in_polygon(family: str) -> None:
    groups = hull_points(marks(jitter=1), family)
    centres = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2)
    inside = np.zeros(SIDE * SIDE, bool)
    for corners in groups:
        inside |= Polygon(corners[ConvexHull(corners).vertices]).contains_points(centres)
    different = (hull_mask(groups, SIDE, SIDE) > 127) != inside.reshape(SIDE, SIDE)
    assert different.mean() < 0.01, "only the outline may differ"


def test_an_outline_is_smooth_on_request() -> None:
    hard, smooth = (hull_mask([marks().points], SIDE, SIDE, smooth=s) for s in (False, True))
    assert set(np.unique(hard)) == {0, 255}
    assert len(np.unique(smooth)) > 10
    assert np.abs(hard.astype(int) - smooth).mean() < 2


@pytest.mark.parametrize("shift", [4000.0, -4000.0])
def test_a_hull_outside_the_image_is_a_counted_failure(shift: float) -> None:
    with pytest.raises(DataError, match="degenerate_hull"):
        hull_mask([marks().points + shift], SIDE, SIDE)


def test_the_elastic_field_has_the_moments_of_blurred_uniform_noise() -> None:
    """Scipy's straightforward field: uniform noise on [-1, 1], Gaussian of 7 pixels, times 50."""
    rng = np.random.default_rng(0)
    theirs = np.stack([gaussian_filter(rng.uniform(-1, 1, (SIDE, SIDE)), 7) * 50 for _ in range(120)])
    ours = np.concatenate([displacement(seed, SIDE, SIDE) for seed in range(60)])
    for lag in (0, 3, 7, 14, 30):
        for axis in (1, 2):
            a, b = (covariance(field, lag, axis) for field in (ours, theirs))
            closed = 50**2 / 3 / (4 * np.pi * 49) * np.exp(-(lag**2) / (4 * 49))
            assert a == pytest.approx(closed, abs=0.06)
            assert a == pytest.approx(b, abs=0.08)
    assert abs(ours.mean()) < 0.03
    assert kurtosis(ours.ravel()) == pytest.approx(kurtosis(theirs.ravel()), abs=0.12)
    assert edges(ours) == pytest.approx(edges(theirs), rel=0.12), "mirrored noise doubles at the border"


def covariance(field: np.ndarray, lag: int, axis: int) -> float:
    inner = field[:, 40:-40, 40:-40]
    moved = np.roll(field, lag, axis=axis)[:, 40:-40, 40:-40]
    return float((inner * moved).mean())


def edges(field: np.ndarray) -> float:
    return float(field[:, :2, 40:-40].var() / field[:, 100:140, 40:-40].var())


def test_x_and_y_are_moved_apart() -> None:
    fields = np.stack([displacement(seed, SIDE, SIDE) for seed in range(60)])
    x, y = fields[:, 0].ravel(), fields[:, 1].ravel()
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.1


@pytest.mark.parametrize("shape", [(256, 256), (200, 161), (31, 47)])
def test_the_mask_is_moved_by_the_field(shape: tuple[int, int]) -> None:
    mask = np.asarray(cv2.resize(cv2.GaussianBlur(face(), (9, 9), 0), shape[::-1]), dtype=np.uint8)
    dx, dy = np.rint(displacement(4, *shape))
    y, x = np.indices(shape)
    theirs = map_coordinates(mask, [y + dy, x + dx], order=0, mode="mirror")
    assert np.array_equal(elastic(mask, 4), theirs)
    assert not np.array_equal(elastic(mask, 4), mask)


@pytest.mark.parametrize("seed", range(25))
def test_softening_equals_the_floating_point_recipe(seed: int) -> None:
    """Blur, divide by the maximum, keep what is still 1, blur again, divide by the maximum."""
    drawn = drawn_softening(seed)
    size = drawn.side[::-1]
    small = cv2.resize(face().astype(np.float64) / 255, size, interpolation=cv2.INTER_LINEAR)
    first = cv2.GaussianBlur(small, (drawn.erode, drawn.erode), 0, borderType=cv2.BORDER_CONSTANT)
    core = np.where(first / first.max() < 1 - 1e-9, 0.0, 1.0)
    second = cv2.GaussianBlur(core, (drawn.blur, drawn.blur), drawn.sigma, borderType=cv2.BORDER_CONSTANT)
    expected = cv2.resize(second / second.max(), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    difference = np.abs(soften(face(), drawn) / 255 - expected)
    assert difference.mean() < 0.1 / 255
    assert (difference > 2 / 255).mean() < 0.01, "about a corner of the core that rounding lets in"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(HULLS)))
def test_a_soft_mask_is_whole_somewhere_and_lies_on_the_hull(seed: int, family: str) -> None:
    hard = hull_mask(hull_points(marks(), family), SIDE, SIDE)
    soft = soften(elastic(hard, seed), drawn_softening(seed))
    assert soft.dtype == np.uint8
    assert soft.max() >= 254
    reach = cv2.dilate(hard, np.ones((45, 45), np.uint8))
    assert not soft[reach == 0].any()


def test_a_mask_that_is_eroded_away_is_a_counted_failure() -> None:
    small = np.zeros((SIDE, SIDE), np.uint8)
    small[100:112, 100:112] = 255
    drawn = Softening(side=(256, 256), erode=15, blur=5, sigma=5)
    with pytest.raises(DataError, match="empty_mask"):
        soften(small, drawn)
    assert soften(small, drawn, largest=4).max() == 255, "a small region gets small kernels"


def test_a_hull_cut_off_by_the_crop_is_closed_inside_it() -> None:
    cut = np.zeros((SIDE, SIDE), np.uint8)
    cut[100:, 60:200] = 255
    for seed in range(30):
        mask = soften(cut, drawn_softening(seed))
        assert mask[-1].max() < 0.6 * 255
        assert mask.max() >= 254


def test_masks_are_the_same_on_every_machine() -> None:
    """Hashes of masks made elsewhere: all arithmetic is exact, so they hold anywhere."""
    digest = hashlib.sha256()
    for seed in range(8):
        hull = sorted(HULLS)[seed % 4]
        hard = hull_mask(hull_points(marks(), hull), SIDE, SIDE, smooth=hull == "facehull")
        digest.update(soften(elastic(hard, seed), drawn_softening(seed)).tobytes())
    assert digest.hexdigest()[:16] == "95d0e60779354ab3"
