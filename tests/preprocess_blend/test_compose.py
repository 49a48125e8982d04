"""Compositors against OpenCV, against formulas, and against the traps of OpenCV's seamlessClone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.preprocess.blend.compose import alpha_blend, poisson_blend
from mmidd.preprocess.blend.masks import Mask
from tests.preprocess_blend.faces import SIDE, picture


def shape(name: str) -> Mask:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    match name:
        case "ellipse":
            cv2.ellipse(mask, (120, 130), (70, 40), 20, 0, 360, 255, -1)
        case "rectangle":
            mask[60:161, 70:150] = 255
        case "triangle":
            cv2.fillConvexPoly(mask, np.array([[30, 40], [220, 70], [100, 230]]), 255)
    return mask


def cloned(source: np.ndarray, target: np.ndarray, mask: Mask) -> np.ndarray:
    """OpenCV's, called as it must be: with a copy of a mask of 255, at the middle of its rectangle."""
    x, y, width, height = cv2.boundingRect(mask)
    centre = (x + width // 2, y + height // 2)
    return cv2.seamlessClone(source, target, mask.copy(), centre, cv2.NORMAL_CLONE)


@pytest.mark.parametrize("name", ["ellipse", "rectangle", "triangle"])
def test_poisson_equals_opencv_s_seamless_clone(name: str) -> None:
    source, target, mask = picture(1), picture(2), shape(name)
    ours, _ = poisson_blend(source, target, mask)
    difference = np.abs(ours.astype(int) - cloned(source, target, mask))
    assert difference.max() <= 1, "OpenCV cuts to integers where ours rounds"
    assert np.abs(ours.astype(int) - target)[mask > 0].mean() > 5, "and something happened"


def test_parts_are_solved_each_in_its_own_rectangle() -> None:
    source, target = picture(1), picture(2)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[30:70, 20:80] = mask[150:200, 120:220] = 255
    ours, used = poisson_blend(source, target, mask)
    outside = mask == 0
    assert np.array_equal(ours[outside], target[outside]), "these parts are their own rectangles"
    assert (used > 127).sum() == pytest.approx((mask > 0).sum(), rel=0.01)


def test_a_mask_is_not_written_to_and_any_value_above_half_counts() -> None:
    mask = shape("ellipse")
    kept = mask.copy()
    first, _ = poisson_blend(picture(1), picture(2), mask)
    assert np.array_equal(mask, kept)
    again, _ = poisson_blend(picture(1), picture(2), np.where(mask > 0, 128, 127).astype(np.uint8))
    assert np.array_equal(first, again)


def test_a_part_too_small_to_show_is_left_out_of_picture_and_mask() -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[40:54, 40:100] = 255
    target = picture(2)
    blended, used = poisson_blend(picture(1), target, mask)
    assert np.array_equal(blended, target)
    assert not used.any()


def test_a_part_at_the_border_leaves_the_border_as_it_is() -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, :90] = 255
    target = picture(2)
    blended, _ = poisson_blend(picture(1), target, mask)
    for line in (np.s_[0], np.s_[-1], np.s_[:, 0]):
        assert np.array_equal(blended[line], target[line])
    assert not np.array_equal(blended, target)


def test_a_constant_offset_leaves_nothing_and_a_ramp_keeps_its_slope() -> None:
    target = np.full((SIDE, SIDE, 3), 90, np.uint8)
    brighter, _ = poisson_blend(target + np.uint8(60), target, shape("rectangle"))
    assert np.array_equal(brighter, target)
    wave = np.clip(128 + 30 * np.sin(np.arange(SIDE) / 3), 0, 255).astype(np.uint8)
    source = np.repeat(np.tile(wave, (SIDE, 1))[..., None], 3, axis=2)
    blended, _ = poisson_blend(source, target, shape("rectangle"))
    inner = np.s_[100:120, 90:130, 0]
    slopes = [np.diff(image[inner].astype(float), axis=1) for image in (blended, source)]
    assert np.corrcoef(slopes[0].ravel(), slopes[1].ravel())[0, 1] > 0.97


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_alpha_equals_the_formula_and_is_the_target_where_the_mask_is_0(seed: int, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    source, target = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 0, 3, 100, 254, 255], np.uint8), (20, 30))
    fake = alpha_blend(source, target, mask, ratio)
    m = (mask / 255 * ratio)[..., None]
    exact = m * source + (1 - m) * target
    assert np.all(fake <= exact + 1e-3), "cut to integers, not rounded"
    assert np.all(fake > exact - 1 - 1e-3)
    assert np.array_equal(fake[mask == 0], target[mask == 0])


def test_alpha_by_hand() -> None:
    source, target = np.full((1, 2, 3), 200, np.uint8), np.full((1, 2, 3), 100, np.uint8)
    fake = alpha_blend(source, target, np.array([[51, 255]], np.uint8), 0.5)
    assert fake[0, :, 0].tolist() == [110, 150]
