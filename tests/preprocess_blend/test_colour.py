"""Colour and frequency changes against their formulas."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmidd.preprocess.blend.colour import apply, brighten, compress, downscale, sharpen, shift_hsv, shift_rgb
from mmidd.preprocess.blend.recipe import Change
from tests.preprocess_blend.faces import picture


def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)


def test_tables_equal_the_formulas_on_every_pixel() -> None:
    image = noise()
    wide = image.astype(np.float64)
    shift = (12.4, -18.2, 3.3)
    assert np.array_equal(shift_rgb(image, shift), np.clip(np.rint(wide + shift), 0, 255))
    lit = np.clip(np.rint(wide * 1.08 - 0.05 * 255), 0, 255)
    assert np.array_equal(brighten(image, 0.08, -0.05), lit)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.float64) + np.array([-0.3, 0.2, -0.1])
    hsv[..., 0] %= 180
    direct = cv2.cvtColor(np.floor(np.clip(hsv, 0, 255)).astype(np.uint8), cv2.COLOR_HSV2RGB)
    assert np.array_equal(shift_hsv(image, (-0.3, 0.2, -0.1)), direct)


def test_downscaling_keeps_every_second_pixel_and_interpolates_between() -> None:
    image = noise()
    expected = cv2.resize(image[::2, ::2], (256, 256), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(downscale(image, 2), expected)


def test_sharpening_by_hand() -> None:
    spot = np.full((8, 8, 3), 77, np.uint8)
    spot[4, 4] = 87
    assert sharpen(spot, 0.5, 1.0)[4, 4, 0] == round(0.5 * 87 + 0.5 * (9 * 87 - 8 * 77))


def test_lower_quality_compresses_more() -> None:
    image = picture()
    errors = [np.abs(compress(image, q).astype(int) - image).mean() for q in (40, 70, 100)]
    assert errors == sorted(errors, reverse=True)


def test_changes_are_applied_in_order_and_none_is_none() -> None:
    image = picture()
    assert apply(image, Change()) is image
    done = apply(image, Change(rgb=(20.0, 0.0, 0.0), light=(0.1, -0.1), downscale=2, jpeg=90))
    by_hand = compress(downscale(brighten(shift_rgb(image, (20.0, 0.0, 0.0)), 0.1, -0.1), 2), 90)
    assert np.array_equal(done, by_hand)
    assert np.array_equal(apply(image, Change(sharpen=(0.3, 0.7))), sharpen(image, 0.3, 0.7))


@pytest.mark.parametrize("factor", [2, 4])
def test_a_flat_picture_stays_flat(factor: int) -> None:
    flat = np.full((64, 64, 3), 77, np.uint8)
    assert np.array_equal(downscale(flat, factor), flat)
    assert np.array_equal(sharpen(flat, 0.3, 1.0), flat)
    assert np.array_equal(shift_hsv(flat, (0.2, 0.2, 0.2)), flat)
