"""A face of 68 landmarks in a textured 256-pixel crop."""

from __future__ import annotations

import cv2
import numpy as np

from mmidd.preprocess.blend.landmarks import FaceMarks, face_marks
from tests.captioning.test_measured import points

SIDE = 256


def marks(jitter: float = 0.0) -> FaceMarks:
    return face_marks(points() + np.random.default_rng(0).uniform(-jitter, jitter, (68, 2)), "dlib68")


def picture(seed: int = 1) -> np.ndarray:
    """Noise at three scales, so that every change of place, colour or sharpness shows."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.uniform(-40, 40, (side, side, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for side in (8, 32, 128)
    ]
    return np.asarray(np.clip(128 + np.sum(layers, axis=0), 0, 255), dtype=np.uint8)
