"""Geometry and resampling weights that both renderers share."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.training.augment.draw import Draw, Interpolation, Resize

Matrix = NDArray[np.float64]


def interpolation(height: int, width: int, size: int, resize: Resize) -> Interpolation:
    """Which of the two it is; an image that shrinks along one side only is enlarged."""
    return resize.shrink if min(height, width) >= size else resize.enlarge


def moved_to(draw: Draw, height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width after the affine change, which is also the resize where that is linear and next."""
    if draw.affine is None or draw.blur is not None or draw.resize is None:
        return height, width
    linear = interpolation(height, width, size, draw.resize) == "linear"
    return (size, size) if linear else (height, width)


def source_of(draw: Draw, height: int, width: int, size: int) -> Matrix:
    """Pixel of the crop that the affine change puts at a pixel of its result: (2, 3) on (x, y, 1)."""
    assert draw.affine is not None
    centre = ((width - 1) / 2, (height - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, draw.affine.degrees, draw.affine.scale)
    turn[:, 2] += np.multiply(draw.affine.shift, (width, height))
    matrix: Matrix = np.asarray(cv2.invertAffineTransform(turn), dtype=np.float64)
    rows, columns = moved_to(draw, height, width, size)
    x, y = width / columns, height / rows
    matrix = matrix @ np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    if draw.flip:
        matrix[0] = [0, 0, width - 1] - matrix[0]
    return matrix


@cache
def resampling(method: Interpolation, length: int, size: int) -> Matrix:
    """Weights (size, length) of the pixels of a line in those of the resized line, as in cv2.resize."""
    if method == "area":
        edges = np.arange(size + 1) * (length / size)
        inside = np.clip(edges[:, None] - np.arange(length), 0, 1)
        overlap: Matrix = np.diff(inside, axis=0)
        return overlap * (size / length)
    centres = (np.arange(size) + 0.5) * (length / size) - 0.5
    taps = np.floor(centres)[:, None] + np.arange(-1, 3)
    distance = abs(centres[:, None] - taps)
    kernel = _cubic(distance) if method == "cubic" else np.clip(1 - distance, 0, 1)
    weights = np.zeros((size, length))
    np.add.at(weights, (np.arange(size)[:, None], taps.clip(0, length - 1).astype(int)), kernel)
    return weights


def _cubic(distance: Matrix) -> Matrix:
    """Keys' kernel with OpenCV's a = -0.75."""
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
