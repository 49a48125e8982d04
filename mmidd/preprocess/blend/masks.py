"""Masks of self-blended images: hulls, elastic deformation and softening; float32 in [0, 1] throughout.

SBI's public fallback draws an integer hull, on which its own threshold does nothing; here every
family is float (Shiohara and Yamasaki, CVPR 2022; mapooon/SelfBlendedImages utils/blend.py).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.errors import DataError
from mmidd.preprocess.blend.regions import COUNT, HULLS, Points

Mask = NDArray[np.float32]

ELASTIC_ALPHA, ELASTIC_SIGMA = 50.0, 7.0
LEAST_AREA = 64.0
_SIDE, _FIRST_KERNEL, _SECOND_KERNEL, _SECOND_SIGMA = (192, 256), (5, 25), (5, 25), (5, 45)
_ATTEMPTS = 8


def hull_mask(points: Points, family: str, height: int, width: int) -> Mask:
    """The union of a family's hulls, (height, width).

    Raises:
        DataError: `degenerate_hull`: not 68 points, not finite, or the hull is smaller than 8 x 8 pixels.
    """
    if points.shape != (COUNT, 2) or not np.isfinite(points).all():
        raise DataError("degenerate_hull", f"{points.shape} landmarks")
    groups, move = HULLS[family]
    moved = move(points).astype(np.float32)
    mask = np.zeros((height, width), np.uint8)
    line = cv2.LINE_AA if family == "facehull" else cv2.LINE_8
    for group in groups:
        hull = cv2.convexHull(moved[list(group)])
        cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 255, lineType=line)
    if mask.sum() < LEAST_AREA * 255:
        raise DataError("degenerate_hull", f"{family} covers {mask.sum() / 255:.0f} pixels")
    return np.asarray(mask, dtype=np.float32) / np.float32(255)


def elastic(mask: Mask, rng: np.random.Generator) -> Mask:
    """Deform by a random field: uniform noise, Gaussian blurred by sigma 7 pixels, times 50."""
    height, width = mask.shape
    x = _smooth_field(mask.shape, rng) + np.arange(width, dtype=np.float32)
    y = _smooth_field(mask.shape, rng) + np.arange(height, dtype=np.float32)[:, None]
    moved = cv2.remap(mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.float32)


def _smooth_field(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    noise = rng.random(shape, dtype=np.float32) * 2 - 1
    size = 2 * round(4 * ELASTIC_SIGMA) + 1
    smooth = cv2.GaussianBlur(noise, (size, size), ELASTIC_SIGMA, borderType=cv2.BORDER_REFLECT)
    return np.asarray(smooth, dtype=np.float32) * np.float32(ELASTIC_ALPHA)


def soften(mask: Mask, rng: np.random.Generator) -> tuple[Mask, dict[str, Any]]:
    """Erode and blur at a random resolution, as SBI does.

    Resize to a random height and width, blur, keep what is still 1, blur again, resize back.
    A draw that erodes everything is drawn anew, eight times at most. Beyond the image the mask is 0,
    so a hull that the crop cuts off is closed inside it too.

    Returns:
        The soft mask with maximum 1, and what was drawn.

    Raises:
        DataError: `empty_mask`: every draw eroded the mask away.
    """
    height, width = mask.shape
    for attempt in range(_ATTEMPTS):
        small_height, small_width = (int(rng.integers(_SIDE[0], _SIDE[1] + 1)) for _ in range(2))
        first, second = _odd(rng, _FIRST_KERNEL), _odd(rng, _SECOND_KERNEL)
        sigma = int(rng.integers(_SECOND_SIGMA[0], _SECOND_SIGMA[1] + 1))
        small = _blur(cv2.resize(mask, (small_width, small_height)), first, 0)
        core = np.where(small < small.max() * (1 - 1e-6), np.float32(0), np.float32(1))
        if small.max() > 0 and core.sum() >= LEAST_AREA:
            soft = _blur(core, second, sigma)
            full = np.asarray(cv2.resize(soft / soft.max(), (width, height)), dtype=np.float32)
            size, kernels = [small_height, small_width], [first, second]
            drawn = {"mask_size": size, "kernels": kernels, "sigma": sigma, "mask_attempts": attempt + 1}
            return np.clip(full, 0, 1), drawn
    raise DataError("empty_mask", f"{_ATTEMPTS} draws eroded it away")


def _blur(mask: Any, kernel: int, sigma: float) -> Mask:
    """Gaussian blur; sigma 0 is OpenCV's own choice for the kernel."""
    blurred = cv2.GaussianBlur(mask, (kernel, kernel), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, dtype=np.float32)


def _odd(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    low, high = bounds
    return int(low + 2 * rng.integers(0, (high - low) // 2 + 1))
