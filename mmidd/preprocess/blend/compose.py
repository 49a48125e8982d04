"""Two ways to put a source into a target under a mask."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.preprocess.blend.masks import Mask
from mmidd.preprocess.detectors.base import Pixels

POISSON_MARGIN = 3
"""Pixels by which OpenCV's seamlessClone shrinks the mask before it solves."""

LEAST_SIDE = 15
"""Parts of a Poisson mask narrower than this vanish almost wholly by that, and are left out."""


def alpha_blend(source: Pixels, target: Pixels, mask: Mask, ratio: float) -> Pixels:
    """Source times m plus target times 1 - m, where m = ratio x mask / 255, cut to integers as SBI does.

    Exactly the target where the mask is 0.
    """
    weight = cv2.LUT(mask, (np.arange(256) * (ratio / 255)).astype(np.float32))
    change = cv2.subtract(source, target, dtype=cv2.CV_32F)
    change = cv2.multiply(change, cv2.merge([weight, weight, weight]), change)
    return np.asarray(cv2.add(change, target, dtype=cv2.CV_32F), dtype=np.float32).astype(np.uint8)


def poisson_blend(source: Pixels, target: Pixels, mask: Mask) -> tuple[Pixels, Mask]:
    """The target with the source's gradients inside the mask (Pérez, Gangnet and Blake, 2003).

    The same picture as OpenCV's `seamlessClone(..., NORMAL_CLONE)` gives, called for each connected part of
    the mask alone: there the mask shrinks by 3 pixels and the solution lives on its bounding rectangle, so
    pixels beside the mask move too, and none outside the rectangles does. OpenCV's traps are not here:
    the mask is not written to, its values above 127 count alike, and a part stays where it is.

    Args:
        source: uint8 (H, W, 3).
        target: same shape.
        mask: (H, W).

    Returns:
        The blend, and 255 where a part was blended; parts narrower than 15 pixels are left out.
    """
    hard = np.where(mask > 127, np.uint8(255), np.uint8(0))
    blended, used = target.copy(), np.zeros_like(hard)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(hard, connectivity=8)
    for number in range(1, count):
        x, y, width, height = (int(value) for value in boxes[number, :4])
        if min(width, height) >= LEAST_SIDE:
            box = np.s_[y : y + height, x : x + width]
            part = labels[box] == number
            used[box][part] = 255
            blended[box] = _solved(source[box], target[box], part)
    return blended, used


def _solved(source: Pixels, target: Pixels, part: NDArray[np.bool_]) -> Pixels:
    """Add to the target the field that is 0 on the rectangle's border and has the wanted gradients.

    Where the mask holds, the gradient of the result is the source's, so that of what is added is that of
    source - target; elsewhere it is 0. Its Laplacian is then known, and sine transforms invert it. Products
    with sine matrices are faster than FFTs at the sizes of faces, and no size is a bad one.
    """
    square = np.ones((2 * POISSON_MARGIN + 1,) * 2, np.uint8)
    inside = cv2.erode(part.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    change = np.moveaxis(source.astype(np.float32) - target, -1, 0)
    weight = inside[:-1, :-1].astype(np.float32)
    along_x = (change[:, :-1, 1:] - change[:, :-1, :-1]) * weight
    along_y = (change[:, 1:, :-1] - change[:, :-1, :-1]) * weight
    laplacian = along_x[:, 1:, 1:] - along_x[:, 1:, :-1] + along_y[:, 1:, 1:] - along_y[:, :-1, 1:]
    height, width = laplacian.shape[1:]
    down, across = _sines(height), _sines(width)
    spectrum = (down @ laplacian @ across) / (_eigenvalues(height)[:, None] + _eigenvalues(width))
    result = target.astype(np.float32)
    result[1:-1, 1:-1] += np.moveaxis(down @ spectrum @ across, 0, -1)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


@lru_cache(maxsize=128)
def _sines(size: int) -> NDArray[np.float32]:
    """The sine transform as a symmetric matrix that is its own inverse."""
    number = np.arange(1, size + 1)
    turns = np.outer(number, number) % (2 * size + 2)
    table = np.sin(np.arange(2 * size + 2) * (np.pi / (size + 1))) * np.sqrt(2 / (size + 1))
    return np.asarray(table.astype(np.float32)[turns], dtype=np.float32)


@lru_cache(maxsize=128)
def _eigenvalues(size: int) -> NDArray[np.float32]:
    """Of the second difference that is 0 beyond both ends."""
    frequency = np.arange(1, size + 1) * np.pi / (size + 1)
    return np.asarray(2 * np.cos(frequency) - 2, dtype=np.float32)
