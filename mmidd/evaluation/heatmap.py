"""A map of forged pixels laid over its image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_STRENGTH = 0.65
_OUTLINE = (255, 255, 255)


def overlay(image: NDArray[np.uint8], found: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image (H, W, 3) RGB under colours that grow with P(forged) (S, S); where it is 0 nothing is added.

    A white line encloses what is called forged, from P = 0.5 on.
    """
    height, width = image.shape[:2]
    chance = np.clip(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    colours = cv2.applyColorMap((255 * chance).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    weight = _STRENGTH * chance[..., None]
    mixed = np.ascontiguousarray((image * (1 - weight) + colours * weight).round().astype(np.uint8))
    outlines, _ = cv2.findContours((chance >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mixed, outlines, -1, _OUTLINE, max(1, width // 200))
    return mixed
