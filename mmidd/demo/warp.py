"""Piecewise-affine warps over Delaunay triangles, and regions of the 68-point face."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.demo.portraits import TILE, Pixels, Points

Mask = NDArray[np.float32]

MOUTH = np.arange(48, 68)
EYES = (np.arange(36, 42), np.arange(42, 48))
BROWS = np.arange(17, 27)

_EDGE = np.array(
    [(x, y) for x in np.linspace(0, TILE[0] - 1, 5) for y in (0, TILE[1] - 1)]
    + [(x, y) for x in (0, TILE[0] - 1) for y in np.linspace(0, TILE[1] - 1, 5)[1:-1]],
    np.float32,
)


def warp(image: Pixels, source: Points, target: Points, *, edge: bool = True) -> Pixels:
    """Moves the points of `source` to `target`, linearly inside every Delaunay triangle of `target`.

    Args:
        image: tile, (480, 416, channels) or (480, 416).
        source: landmarks in `image`, (n, 2) pixels.
        target: where they go, (n, 2) pixels.
        edge: keep the border of the tile where it is.

    Returns:
        The warped tile by cubic interpolation; without `edge`, pixels outside the
        hull of `target` repeat the border of the image.
    """
    from scipy.interpolate import LinearNDInterpolator

    if edge:
        source, target = np.concatenate([source, _EDGE]), np.concatenate([target, _EDGE])
    columns, rows = np.meshgrid(np.arange(TILE[0]), np.arange(TILE[1]))
    where = LinearNDInterpolator(target, source, fill_value=-1)(columns, rows).astype(np.float32)
    x, y = where[..., 0], where[..., 1]
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def to_pixels(values: NDArray[np.floating]) -> Pixels:
    """Rounds grey levels to 8 bits."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def forehead(points: Points, height: float) -> Points:
    """The brow points raised away from the eyes by `height` times the brow-to-chin distance."""
    up = points[27] - points[8]
    return np.asarray(points[BROWS] + height * up, np.float32)


def hull(points: Points) -> Mask:
    """1 inside the convex hull of the points, 0 outside, (480, 416)."""
    canvas = np.zeros(TILE[::-1], np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(points.round().astype(np.int32)), 1)
    return canvas.astype(np.float32)


def soften(mask: Mask, width: float) -> Mask:
    """Erodes the mask by `width` pixels and blurs it, so that it falls to 0 within its first outline."""
    size = max(3, round(width)) | 1
    inner = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return np.asarray(cv2.GaussianBlur(inner, (0, 0), width / 4), np.float32)


def blend(over: NDArray[np.generic], under: NDArray[np.generic], mask: Mask) -> Pixels:
    """`mask * over + (1 - mask) * under`, rounded to 8 bits."""
    weight = mask[..., None]
    mixed = weight * over.astype(np.float32) + (1 - weight) * under.astype(np.float32)
    return to_pixels(mixed)
