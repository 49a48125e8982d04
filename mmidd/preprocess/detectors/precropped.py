"""The detector of images that are a face crop already: the whole image is the face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmidd.preprocess.detectors.base import Face, Pixels


class Precropped:
    """Returns one face whose box is the image, without landmarks."""

    name = "precropped"
    version = "1"

    def detect(self, image: Pixels, previous: Sequence[Face] = ()) -> list[Face]:
        """One face: the full image, score 1."""
        height, width = image.shape[:2]
        return [Face(np.array([0, 0, width, height], dtype=np.float32), score=1.0)]
