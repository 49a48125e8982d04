"""Self-blended images against independent computations, and their invariants."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import ConvexHull

from mmidd.errors import DataError
from mmidd.preprocess.blend.colour import downscale, sharpen, shift_hsv
from mmidd.preprocess.blend.masks import ELASTIC_ALPHA, ELASTIC_SIGMA, elastic, hull_mask, soften
from mmidd.preprocess.blend.regions import HULLS, to_crop
from mmidd.preprocess.blend.sbi import RATIOS, alpha_blend, self_blend
from mmidd.preprocess.simulate import simulate_sample
from tests.captioning.test_measured import points


def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)


@pytest.mark.parametrize("family", sorted(HULLS))
def test_hulls_equal_brute_force_point_in_polygon(family: str) -> None:
    groups, move = HULLS[family]
    landmarks = points() + np.random.default_rng(0).uniform(-1, 1, (68, 2))
    moved = move(landmarks)
    centres = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).reshape(-1, 2)
    inside = np.zeros(256 * 256, bool)
    for group in groups:
        corners = moved[list(group)]
        inside |= Polygon(corners[ConvexHull(corners).vertices]).contains_points(centres)
    mask = hull_mask(landmarks, family, 256, 256)
    different = (mask > 0.5) != inside.reshape(256, 256)
    assert different.mean() < 0.02, "only the rounded outline may differ"
    assert mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() == 1


def test_raised_brows_go_up_by_half_the_way_to_the_eye() -> None:
    _, move = HULLS["extended"]
    before, after = points(), move(points())
    assert after[19, 1] == pytest.approx(before[19, 1] - (before[37, 1] - before[19, 1]) / 2)
    assert (after[17:27, 1] < before[17:27, 1]).all()
    assert np.array_equal(after[27:], before[27:])


def test_elastic_equals_the_scipy_formula() -> None:
    mask = hull_mask(points(), "facehull", 256, 256)
    ours = elastic(mask, np.random.default_rng(5))
    noise = np.random.default_rng(5)
    dx, dy = (
        gaussian_filter(noise.random((256, 256), dtype=np.float32) * 2 - 1, ELASTIC_SIGMA, mode="reflect")
        * ELASTIC_ALPHA
        for _ in range(2)
    )
    y, x = np.mgrid[:256, :256]
    theirs = map_coordinates(mask, [y + dy, x + dx], order=1, mode="mirror")
    assert np.abs(ours - theirs).max() < 0.05
    assert np.abs(ours - theirs).mean() < 1e-3


@pytest.mark.parametrize("seed", range(12))
def test_a_blend_keeps_its_invariants(seed: int) -> None:
    real = image()
    blend = self_blend(real, points(), np.random.default_rng(seed))
    assert blend.real.shape == blend.fake.shape == real.shape
    assert blend.mask.dtype == np.float32
    assert blend.mask.min() >= 0
    assert blend.mask.max() <= 1
    assert np.array_equal(blend.fake[blend.mask == 0], blend.real[blend.mask == 0])
    assert not np.array_equal(blend.fake, blend.real)
    assert blend.parameters["ratio"] in RATIOS
    assert (blend.parameters["shift_on"] == "source") == np.array_equal(blend.real, real)


def test_the_same_seed_sample_and_number_give_the_same_pixels() -> None:
    first, again = (simulate_sample(image(), points(), 3, "abc", 1) for _ in range(2))
    assert np.array_equal(first.fake, again.fake)
    assert np.array_equal(first.mask, again.mask)
    assert first.parameters == again.parameters
    for other in ((4, "abc", 1), (3, "abd", 1), (3, "abc", 2)):
        assert simulate_sample(image(), points(), *other).parameters != first.parameters


def test_all_hulls_and_both_sides_are_drawn() -> None:
    drawn = [self_blend(image(), points(), np.random.default_rng(s)).parameters for s in range(40)]
    assert {d["hull"] for d in drawn} == set(HULLS)
    assert {d["shift_on"] for d in drawn} == {"source", "target"}
    assert any("downscale" in d for d in drawn)
    assert any("sharpen" in d for d in drawn)


def test_alpha_blend_by_hand() -> None:
    source, target = np.full((1, 2, 3), 200, np.uint8), np.full((1, 2, 3), 100, np.uint8)
    fake = alpha_blend(source, target, np.array([[0.25, 1.0]], np.float32))
    assert fake[0, :, 0].tolist() == [125, 200]


@pytest.mark.parametrize(
    "bad", [np.full((68, 2), 50.0), np.full((68, 2), np.nan), np.zeros((5, 2)), points() + 4000]
)
def test_landmarks_without_a_hull_are_counted_failures(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="degenerate_hull"):
        self_blend(image(), bad, np.random.default_rng(0))


def test_a_mask_that_erodes_away_is_a_counted_failure() -> None:
    with pytest.raises(DataError, match="empty_mask"):
        soften(np.zeros((64, 64), np.float32), np.random.default_rng(0))


def test_colour_operations_by_hand() -> None:
    flat = np.full((8, 8, 3), 77, np.uint8)
    assert np.array_equal(downscale(flat, 4), flat)
    assert np.array_equal(shift_hsv(flat, [0.2, 0.2, 0.2]), flat)
    spot = flat.copy()
    spot[4, 4] = 87
    assert sharpen(spot, 0.5, 1.0)[4, 4, 0] == round(0.5 * 87 + 0.5 * (9 * 87 - 8 * 77))


def test_to_crop_is_the_affine_of_the_row() -> None:
    assert np.allclose(to_crop([[10, 20], [0, 0]], [[2, 0, 1], [0, 3, -5]]), [[21, 55], [1, -5]])
