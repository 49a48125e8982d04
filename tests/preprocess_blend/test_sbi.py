"""Self-blended images against independent computations, and their invariants."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import ConvexHull

from mmidd.errors import DataError
from mmidd.preprocess.blend.colour import brighten, downscale, sharpen, shift_hsv, shift_rgb, statistics_shift
from mmidd.preprocess.blend.masks import ELASTIC_ALPHA, ELASTIC_SIGMA, elastic, hull_mask, soften
from mmidd.preprocess.blend.regions import HULLS, to_crop
from mmidd.preprocess.blend.sbi import RATIOS, _draw_affine, alpha_blend, self_blend
from mmidd.preprocess.crop import encode_mask
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


def test_the_hulls_are_those_of_sbi() -> None:
    """The landmark numbers of the public mask helper, typed again apart from the table."""
    jaw_mouth = {*range(17), *range(48, 68)}
    brows = {17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 0, 27, 16, 33}
    dfl = [jaw_mouth, {27, 28, 29, 30, 33}, brows]
    components = [
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 17},
        {8, 9, 10, 11, 12, 13, 14, 15, 16, 26},
        {17, 18, 19, 8},
        {24, 25, 26, 8},
        {19, 20, 21, 22, 23, 24, 8},
        {17, 18, 19, 20, 21, 27, 31, 32, 33, 34, 35, 8},
        {22, 23, 24, 25, 26, 27, 31, 32, 33, 34, 35, 8},
        {27, 28, 29, 30, 31, 32, 33, 34, 35},
    ]
    expected = {"dfl_full": dfl, "extended": dfl, "components": components, "facehull": [set(range(68))]}
    assert {name: [set(g) for g in groups] for name, (groups, _) in HULLS.items()} == expected


def test_raised_brows_go_up_by_half_the_way_to_the_eye() -> None:
    _, move = HULLS["extended"]
    before, after = points(), move(points())
    assert after[19, 1] == pytest.approx(before[19, 1] - (before[37, 1] - before[19, 1]) / 2)
    assert (after[17:27, 1] < before[17:27, 1]).all()
    assert np.array_equal(after[27:], before[27:])


MIRROR = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
]


@pytest.mark.parametrize("family", sorted(HULLS))
def test_a_mirrored_face_gets_the_mirrored_hulls(family: str) -> None:
    groups, move = HULLS[family]
    assert {frozenset(MIRROR[i] for i in group) for group in groups} == {frozenset(g) for g in groups}
    landmarks = points() + np.random.default_rng(0).uniform(-3, 3, (68, 2))
    flipped = landmarks[MIRROR] * (-1, 1)
    assert np.allclose(move(flipped), move(landmarks)[MIRROR] * (-1, 1))


def test_the_affine_moves_the_centre_by_the_translation_and_scales_around_it() -> None:
    matrix, drawn = _draw_affine(200, 100, np.random.default_rng(0))
    centre = np.array([99.5, 49.5])
    assert np.allclose(to_crop(centre, matrix), centre + drawn["translate"])
    assert np.allclose(matrix[:, :2], np.diag(drawn["scale"]))


def test_downscaling_keeps_every_second_pixel_and_interpolates_between() -> None:
    picture = image()
    expected = cv2.resize(picture[::2, ::2], (256, 256), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(downscale(picture, 2), expected)


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
        assert not np.array_equal(simulate_sample(image(), points(), *other).fake, first.fake)


def test_the_parameters_are_json_and_enough_to_draw_the_blend_again() -> None:
    first = simulate_sample(image(), points(), 3, "abc", 1)
    stored = json.loads(json.dumps(first.parameters))
    assert stored == first.parameters
    again = simulate_sample(image(), points(), stored["seed"], "abc", stored["k"])
    assert np.array_equal(again.fake, first.fake)


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


def test_a_hull_cut_off_by_the_crop_is_closed_inside_it() -> None:
    cut = np.zeros((256, 256), np.float32)
    cut[100:, 60:200] = 1
    for seed in range(30):
        mask, _ = soften(cut, np.random.default_rng(seed))
        assert mask[-1].max() < 0.6
        assert mask.max() > 0.99


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


def test_colour_tables_equal_the_formulas_on_every_pixel() -> None:
    picture = image()
    wide = picture.astype(np.float64)
    shift = [12.4, -18.2, 3.3]
    assert np.array_equal(shift_rgb(picture, shift), np.clip(np.rint(wide + shift), 0, 255))
    lit = np.clip(np.rint(wide * 1.08 - 0.05 * 255), 0, 255)
    assert np.array_equal(brighten(picture, 0.08, -0.05), lit)
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(np.float64) + np.array([-0.3, 0.2, -0.1])
    hsv[..., 0] %= 180
    direct = cv2.cvtColor(np.floor(np.clip(hsv, 0, 255)).astype(np.uint8), cv2.COLOR_HSV2RGB)
    assert np.array_equal(shift_hsv(picture, [-0.3, 0.2, -0.1]), direct)


def test_each_value_is_drawn_from_its_range() -> None:
    picture = image()[:64, :64]
    drawn = [statistics_shift(picture, np.random.default_rng(s))[1] for s in range(400)]
    shifts = np.array([d["rgb_shift"] for d in drawn if "rgb_shift" in d])
    assert pytest.approx(len(shifts) / 400, abs=0.08) == 0.3
    assert 18 < np.abs(shifts).max() <= 20
    assert 0.28 < np.abs([d["hsv_shift"] for d in drawn]).max() <= 0.3
    for name in ("contrast", "brightness"):
        assert 0.095 < np.abs([d[name] for d in drawn]).max() <= 0.1
    factors = [d["downscale"] for d in drawn if "downscale" in d]
    assert {2, 4} == set(factors)
    assert pytest.approx(len(factors) / 400, abs=0.08) == 0.5
    alpha, lightness = np.array([d["sharpen"] for d in drawn if "sharpen" in d]).T
    assert (alpha.min() >= 0.2) & (alpha.max() <= 0.5) & (lightness.min() >= 0.5) & (lightness.max() <= 1)


def test_softening_and_affine_are_drawn_from_their_ranges() -> None:
    drawn = [self_blend(image(), points(), np.random.default_rng(s)).parameters for s in range(120)]
    size, kernels = (np.array([d[name] for d in drawn]) for name in ("mask_size", "kernels"))
    assert (192 <= size.min() < 196) & (252 < size.max() <= 256)
    assert set(kernels.ravel()) == set(range(5, 26, 2))
    assert {d["sigma"] for d in drawn} <= set(range(5, 46))
    scale, shift = (np.array([d[name] for d in drawn]) for name in ("scale", "translate"))
    assert (0.95 <= scale.min() < 0.96) & (1.04 < scale.max() <= 1 / 0.95)
    assert np.all(np.abs(shift) <= (0.03 * 256, 0.015 * 256))
    assert np.all(np.abs(shift).max(axis=0) > (0.9 * 0.03 * 256, 0.9 * 0.015 * 256))
    ratios = np.array([d["ratio"] for d in drawn])
    assert np.mean(ratios == 1) == pytest.approx(0.5, abs=0.15)


def test_nothing_black_is_blended_in_at_the_border() -> None:
    """Source and target of a flat picture are flat, so the fake lies between outside and core of the mask."""
    wide = (points() - 128) * 1.6 + 128
    for seed in range(20):
        blend = self_blend(np.full((256, 256, 3), 200, np.uint8), wide, np.random.default_rng(seed))
        core = blend.fake[np.unravel_index(blend.mask.argmax(), blend.mask.shape)].astype(int)
        outside = blend.real[0, 0].astype(int)
        assert (blend.fake >= np.minimum(core, outside) - 1).all()
        assert (blend.fake <= np.maximum(core, outside) + 1).all()


def test_masks_lie_on_the_face_and_outside_it_nothing_changes() -> None:
    face = hull_mask(points(), "facehull", 256, 256) > 0.5
    near = cv2.dilate(face.astype(np.uint8), np.ones((61, 61), np.uint8)) > 0
    for seed in range(20):
        mask = self_blend(image(), points(), np.random.default_rng(seed)).mask
        assert mask[face].mean() > 0.5
        assert mask[~near].max() < 0.02


def test_a_stored_mask_keeps_its_values() -> None:
    mask = self_blend(image(), points(), np.random.default_rng(0)).mask
    stored = cv2.imdecode(np.frombuffer(encode_mask(mask), np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert stored.dtype == np.uint8
    assert np.abs(stored / 255 - mask).max() <= 0.5 / 255 + 1e-6


def test_to_crop_is_the_affine_of_the_row() -> None:
    assert np.allclose(to_crop([[10, 20], [0, 0]], [[2, 0, 1], [0, 3, -5]]), [[21, 55], [1, -5]])
