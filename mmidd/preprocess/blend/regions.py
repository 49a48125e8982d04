"""The 68-point landmark scheme (300-W) and the hulls that self-blended images are cut along.

The four families are those that SBI (Shiohara and Yamasaki, CVPR 2022) draws from: each is a union
of convex hulls of landmark groups.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Group = tuple[int, ...]

COUNT = 68


def _group(*parts: range | int) -> Group:
    return tuple(chain.from_iterable((p,) if isinstance(p, int) else p for p in parts))


JAW, BROWS, MOUTH = range(17), range(17, 27), range(48, 68)
_RIGHT_EYE_TO_BROW = ((17, None), (18, 36), (19, 37), (20, 38), (21, 39))
_LEFT_EYE_TO_BROW = ((22, 42), (23, 43), (24, 44), (25, 45), (26, None))

_DFL_FULL = (
    _group(JAW, MOUTH),
    _group(range(27, 31), 33),
    _group(BROWS, 0, 27, 16, 33),
)
_COMPONENTS = (
    _group(range(9), 17),
    _group(range(8, 17), 26),
    _group(range(17, 20), 8),
    _group(range(24, 27), 8),
    _group(range(19, 25), 8),
    _group(range(17, 22), 27, range(31, 36), 8),
    _group(range(22, 27), 27, range(31, 36), 8),
    _group(range(27, 36)),
)
_FACE_HULL = (_group(range(COUNT)),)


def _as_they_are(points: Points) -> Points:
    return points


def _raised_brows(points: Points) -> Points:
    """Every brow point moved up by half of its distance to the eye below it."""
    raised = points.copy()
    outer_right = (3 * points[36] + points[0]) / 4
    outer_left = (3 * points[45] + points[16]) / 4
    for pairs, outer in ((_RIGHT_EYE_TO_BROW, outer_right), (_LEFT_EYE_TO_BROW, outer_left)):
        for brow, eye in pairs:
            under = outer if eye is None else points[eye]
            raised[brow] += (points[brow] - under) / 2
    return raised


HULLS: dict[str, tuple[tuple[Group, ...], Callable[[Points], Points]]] = {
    "dfl_full": (_DFL_FULL, _as_they_are),
    "extended": (_DFL_FULL, _raised_brows),
    "components": (_COMPONENTS, _as_they_are),
    "facehull": (_FACE_HULL, _as_they_are),
}
"""Families of hulls: landmark groups, and what happens to the landmarks first."""


def to_crop(points: ArrayLike, matrix: ArrayLike) -> Points:
    """Map (n, 2) source-frame pixels to crop pixels by the (2, 3) `crop_matrix` of a row."""
    affine = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ affine[:, :2].T + affine[:, 2]
