"""Masks of self-blended images: hulls, elastic deformation and softening, uint8 throughout.

Everything is integer arithmetic, or floating-point arithmetic on integers small enough to be exact, so
that a mask is the same on every machine. SBI's public fallback draws an integer hull of ones, on
which its own threshold does nothing; here the threshold acts on every hull.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.errors import DataError
from mmidd.preprocess.blend.landmarks import Points
from mmidd.preprocess.blend.recipe import Softening

Mask = NDArray[np.uint8]
"""(H, W), 0 to 255."""

ELASTIC_ALPHA, ELASTIC_SIGMA = 50.0, 7.0
REACH = 16
EVERY = slice(None)

LEAST_AREA = 64
_CELL, _PEAK, _NOISE, _DRAWS = 8, 64, 64, 4  # sums stay below 2**24: exact in float32
_SUBPIXEL = 4


def hull_mask(groups: Sequence[Points], height: int, width: int, smooth: bool = False) -> Mask:
    """The union of the convex hulls of groups of (n, 2) pixel coordinates.

    Args:
        groups: at least three points each.
        height: of the mask.
        width: of the mask.
        smooth: draw anti-aliased outlines.

    Raises:
        DataError: `degenerate_hull`: less than 64 pixels lie in the image, or a point is not finite.
    """
    if not all(np.isfinite(group).all() for group in groups):
        raise DataError("degenerate_hull", "a landmark is not finite")
    mask = np.zeros((height, width), np.uint8)
    line = cv2.LINE_AA if smooth else cv2.LINE_8
    for group in groups:
        corners = np.rint(cv2.convexHull(group.astype(np.float32)) * 2**_SUBPIXEL).astype(np.int32)
        cv2.fillConvexPoly(mask, corners, 255, lineType=line, shift=_SUBPIXEL)
    covered = cv2.countNonZero(mask)
    if covered < LEAST_AREA:
        raise DataError("degenerate_hull", f"it covers {covered} pixels")
    return mask


def elastic(mask: Mask, seed: int) -> Mask:
    """Move every pixel by `displacement`, to the nearest; what comes from beyond the image is mirrored.

    The nearest, since augmentation libraries do so with masks: a blend of two would make the edge of
    every hull soft, which the erosion of `soften` would then take away.
    """
    height, width = mask.shape
    rows, columns = _around(mask)
    x, y = np.rint(displacement(seed, height, width, rows, columns)).astype(np.int16)
    place = np.empty((*x.shape, 2), np.int16)
    place[..., 0] = x + np.arange(columns.start, columns.stop, dtype=np.int16)
    place[..., 1] = y + np.arange(rows.start, rows.stop, dtype=np.int16)[:, None]
    moved, nothing = np.zeros_like(mask), np.empty(0, np.uint8)
    moved[rows, columns] = cv2.remap(
        mask, place, nothing, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
    )
    return moved


def _around(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns that a mask can reach: a displacement of 16 pixels is one of 14 deviations."""
    x, y, width, height = cv2.boundingRect(mask)
    rows = slice(max(y - REACH, 0), min(y + height + REACH, mask.shape[0]))
    return rows, slice(max(x - REACH, 0), min(x + width + REACH, mask.shape[1]))


def displacement(
    seed: int, height: int, width: int, rows: slice = EVERY, columns: slice = EVERY
) -> NDArray[np.float32]:
    """SBI's elastic field of an image in pixels, or a part of it: (2, H, W), x before y.

    There it is uniform noise on [-1, 1] for every pixel, Gaussian blurred with sigma 7 and times
    50 (Simard et al. 2003). A Gaussian of that width leaves nothing of what is finer than a few
    pixels, so noise in cells of 8 pixels gives a field of the same distribution (variance, covariance
    to 1 %) in a fraction of the time. At the image's borders the noise is mirrored.
    """
    down, across = _basis(height), _basis(width)
    rng = np.random.Generator(np.random.Philox(key=seed))
    shape = (_DRAWS, 2, down.shape[1], across.shape[1])
    noise = rng.integers(-_NOISE, _NOISE + 1, shape, np.int16).sum(0, dtype=np.float32)
    return np.asarray(down[rows] @ noise @ across[columns].T * _gain(), dtype=np.float32)


@cache
def _basis(size: int) -> NDArray[np.float32]:
    """Integers (size, cells): the weight of each cell's noise at each pixel."""
    pixel = np.arange(size)[:, None]
    centre = np.arange(-(-size // _CELL)) * _CELL + (_CELL - 1) / 2
    mirrors = (centre, -1 - centre, 2 * size - 1 - centre)
    weights = sum(np.exp(-((pixel - at) ** 2) / (2 * ELASTIC_SIGMA**2)) for at in mirrors)
    return np.asarray(np.rint(_PEAK * weights), dtype=np.float32)


@cache
def _gain() -> np.float32:
    """Brings the field from its integers to SBI's standard deviation, in pixels."""
    wanted = ELASTIC_ALPHA * np.sqrt(1 / 3 / (4 * np.pi)) / ELASTIC_SIGMA
    noise = _DRAWS * ((2 * _NOISE + 1) ** 2 - 1) / 12
    drawn = _PEAK**2 * np.sqrt(noise * np.pi) * ELASTIC_SIGMA / _CELL
    return np.float32(wanted / drawn)


def soften(mask: Mask, drawn: Softening, largest: int | None = None) -> Mask:
    """Erode and blur at a drawn resolution, as SBI does.

    SBI blurs, keeps what is still 1 and blurs again; a pixel is still 1 if all under the kernel is, which
    is an erosion. Beyond the image the mask is 0, so a hull that the crop cuts off is closed in it.

    Args:
        mask: (H, W).
        drawn: resolution and kernels.
        largest: side of the largest kernel allowed, for masks so small that they would vanish.

    Returns:
        (H, W) with maximum 255.

    Raises:
        DataError: `empty_mask`: less than 64 pixels are left.
    """
    height, width = mask.shape
    erode, blur = (_at_most(kernel, largest) for kernel in (drawn.erode, drawn.blur))
    small = cv2.resize(mask, drawn.side[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
    whole = (small == 255).view(np.uint8)
    square = np.ones((erode, erode), np.uint8)
    core = cv2.erode(whole, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    left = cv2.countNonZero(core)
    if left < LEAST_AREA:
        raise DataError("empty_mask", f"{left} pixels are left of it")
    kernel = _gaussian(blur, drawn.sigma)
    soft = cv2.sepFilter2D(core, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    levels = np.rint(soft * np.float32(255 / soft.max())).astype(np.uint8)
    full = cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return np.asarray(full, dtype=np.uint8)


@cache
def _gaussian(size: int, sigma: int) -> NDArray[np.float32]:
    """Kernel of integers that sum to about 2048, so that two passes over a mask of ones are exact."""
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    return np.asarray(np.rint(weights * (2048 / weights.sum())), dtype=np.float32)


def _at_most(kernel: int, largest: int | None) -> int:
    """The kernel or the largest odd one allowed, at least 3."""
    return kernel if largest is None else min(kernel, max(3, largest - 1 + largest % 2))
