"""Choose the one face of a frame that carries the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from mmidd.preprocess.detectors.base import Face, Floats, Pixels, box_iou

Role = Literal["mask", "track", "largest", "whole"]

SAME_TRACK = 0.3
"""Overlap (IoU) with the face chosen before from which a face continues its track."""

ON_MASK = 0.02
"""Mean of the mask in a box from which the box lies on it: an edited eye covers this much."""


def choose_face(faces: Sequence[Face], mask: Pixels | None, previous: Face | None) -> tuple[int, Role] | None:
    """Index of the chosen face and the rule that chose it.

    A mask that is not empty decides alone, so that an untouched bystander is never taken
    for the manipulated face; then the track goes on; else the largest face is taken.

    Args:
        faces: faces of one frame, at least one.
        mask: uint8 (H, W) of the manipulated region, 255 inside; black counts as no mask.
        previous: the face chosen in the frame before.

    Returns:
        None where no face lies on the mask.
    """
    if mask is not None and mask_box(mask) is not None:
        coverage = [_coverage(face.box, mask) for face in faces]
        best = int(np.argmax(coverage))
        return (best, "mask") if coverage[best] >= ON_MASK else None
    if previous is not None:
        overlaps = [box_iou(face.box, previous.box) for face in faces]
        best = int(np.argmax(overlaps))
        if overlaps[best] >= SAME_TRACK:
            return best, "track"
    return int(np.argmax([face.area for face in faces])), "largest"


def mask_box(mask: Pixels) -> Floats | None:
    """Bounding box of the mask's pixels above 127, float32 x0 y0 x1 y1; None where there are none.

    The threshold passes over the noise of compressed mask videos.
    """
    x, y, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    return np.array([x, y, x + width, y + height], dtype=np.float32) if width and height else None


def _coverage(box: Floats, mask: Pixels) -> float:
    height, width = mask.shape
    x0, y0, x1, y1 = np.clip(np.rint(box), 0, [width, height, width, height]).astype(int)
    inside = mask[y0:y1, x0:x1]
    return float(inside.mean()) / 255 if inside.size else 0.0
