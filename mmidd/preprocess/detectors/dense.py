"""What detectors share that look at the whole image at once with a network.

An image is looked at with its longer side at most `SIDES[0]`, never enlarged. Only when no face is
found, it is looked at again smaller, for faces that fill it, and larger, for faces that are small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.preprocess.detectors.base import Face, Floats, Pixels, box_iou

SIDES = (640, 320, 1280)
"""Longer side of the image in each search."""

MULTIPLE = 32
"""Sides of the networks' input are multiples of their coarsest stride."""

SAME_FACE = 0.4
"""Overlap (IoU) from which two boxes are one face."""

Candidates = tuple[Floats, Floats, Floats]
"""Boxes (n, 4), scores (n,) and five points (n, 5, 2), in pixels of what the network saw."""


def search(image: Pixels, run: Callable[[Pixels], Candidates]) -> list[Face]:
    """All faces of the first search that finds any, largest first, without doubles.

    Args:
        image: uint8 (H, W, 3) RGB.
        run: the network, on an image whose sides are multiples of `MULTIPLE`.
    """
    for width, height in _sizes(image):
        boxes, scores, points = run(_fitted(image, width, height))
        back = np.array([image.shape[1] / width, image.shape[0] / height], dtype=np.float32)
        faces = [
            Face(boxes[n] * np.tile(back, 2), float(scores[n]), landmarks5=points[n] * back)
            for n in distinct(boxes, scores)
        ]
        if faces:
            return sorted(faces, key=lambda face: (-face.area, *face.box.tolist()))
    return []


def distinct(boxes: Floats, scores: Floats) -> list[int]:
    """Indices of the boxes that overlap no surer one, surest first."""
    kept: list[int] = []
    for n in np.argsort(-scores, kind="stable").tolist():
        if all(box_iou(boxes[n], boxes[k]) < SAME_FACE for k in kept):
            kept.append(n)
    return kept


def cells(height: int, width: int, stride: int) -> Floats:
    """Column and row of every cell of a feature map, float32 (cells, 2), row after row."""
    rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
    return np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32)


def channels_first(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """A batch of one: float32 (1, 3, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def _sizes(image: Pixels) -> Iterator[tuple[int, int]]:
    """Width and height in each search, each size once."""
    height, width = image.shape[:2]
    scales = [min(1.0, side / max(height, width)) for side in SIDES]
    yield from dict.fromkeys((max(round(width * s), 1), max(round(height * s), 1)) for s in scales)


def _fitted(image: Pixels, width: int, height: int) -> Pixels:
    """The image at that size, with black to the right and below."""
    same = image.shape[:2] == (height, width)
    scaled = image if same else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    right, below = -width % MULTIPLE, -height % MULTIPLE
    return np.pad(np.asarray(scaled, np.uint8), ((0, below), (0, right), (0, 0)))
