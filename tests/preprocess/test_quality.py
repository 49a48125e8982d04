"""Quality figures against independent computations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft, ndimage

from mmidd.preprocess.quality import brightness, luma, phash, sharpness
from tests.preprocess.preprocess_media import portrait

FACE = portrait()[60:188, 160:288]


def test_luma_and_brightness_follow_bt601() -> None:
    expected = FACE @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma(FACE) - expected).max() <= 1
    assert brightness(FACE) == pytest.approx(expected.mean(), abs=0.5)
    assert brightness(np.full((4, 4, 3), 255, np.uint8)) == 255


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    expected = ndimage.laplace(luma(FACE).astype(float), mode="mirror").var()
    assert sharpness(FACE) == pytest.approx(expected)
    assert sharpness(cv2.GaussianBlur(FACE, (0, 0), 2).astype(np.uint8)) < expected / 4
    assert sharpness(np.full((9, 9, 3), 7, np.uint8)) == 0


def scipy_phash(image: NDArray[np.uint8]) -> int:
    small = cv2.resize(luma(image), (32, 32), interpolation=cv2.INTER_AREA)
    lowest = fft.dctn(small.astype(float), norm="ortho")[:8, :8]
    bits = "".join("1" if value > np.median(lowest) else "0" for value in lowest.ravel())
    return int(bits, 2)


def test_phash_equals_its_definition_with_another_dct() -> None:
    for image in (FACE, FACE[:, ::-1], portrait()):
        assert int(phash(image), 16) == scipy_phash(image)
        assert len(phash(image)) == 16


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return (int(phash(a), 16) ^ int(phash(b), 16)).bit_count()


def test_phash_is_near_for_copies_and_far_for_others() -> None:
    dimmed = (FACE * 0.9).astype(np.uint8)
    assert distance(FACE, dimmed) <= 4
    assert distance(FACE, cv2.resize(FACE, (90, 90)).astype(np.uint8)) <= 4
    assert distance(FACE, portrait()[300:428, 100:228]) > 16
