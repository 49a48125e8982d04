"""Colour and frequency transforms of SBI on uint8 RGB images, every value drawn from one generator.

Ranges as in mapooon/SelfBlendedImages utils/sbi.py. Each function returns the image and what was drawn.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Drawn = dict[str, Any]

_RGB_SHIFT, _RGB_P = 20.0, 0.3
_HSV_SHIFT = 0.3
_LIGHT = 0.1
_SHARPEN_ALPHA, _SHARPEN_LIGHTNESS = (0.2, 0.5), (0.5, 1.0)


def statistics_shift(image: Pixels, rng: np.random.Generator) -> tuple[Pixels, Drawn]:
    """RGB shift (p 0.3), HSV shift, brightness and contrast, then downscaling or sharpening."""
    drawn: Drawn = {}
    if rng.random() < _RGB_P:
        drawn["rgb_shift"] = [float(v) for v in rng.uniform(-_RGB_SHIFT, _RGB_SHIFT, 3)]
        image = _clip(image + np.asarray(drawn["rgb_shift"]))
    drawn["hsv_shift"] = [float(v) for v in rng.uniform(-_HSV_SHIFT, _HSV_SHIFT, 3)]
    image = shift_hsv(image, drawn["hsv_shift"])
    drawn["contrast"], drawn["brightness"] = (float(v) for v in rng.uniform(-_LIGHT, _LIGHT, 2))
    image = _clip(image.astype(np.float32) * (1 + drawn["contrast"]) + 255 * drawn["brightness"])
    if rng.random() < 0.5:
        drawn["downscale"] = int(rng.choice([2, 4]))
        return downscale(image, drawn["downscale"]), drawn
    drawn["sharpen"] = [float(rng.uniform(*_SHARPEN_ALPHA)), float(rng.uniform(*_SHARPEN_LIGHTNESS))]
    return sharpen(image, *drawn["sharpen"]), drawn


def shift_hsv(image: Pixels, shift: list[float]) -> Pixels:
    """Add to hue (0..179, cyclic), saturation and value (0..255) and cut to integers.

    SBI gives its limits as 0.3, which on uint8 lowers a channel by one or leaves it.
    """
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), dtype=np.float32) + np.asarray(shift, np.float32)
    hsv[..., 0] %= 180
    whole = np.floor(np.clip(hsv, 0, 255)).astype(np.uint8)
    whole[..., 0] = np.minimum(whole[..., 0], 179)
    return np.asarray(cv2.cvtColor(whole, cv2.COLOR_HSV2RGB), dtype=np.uint8)


def downscale(image: Pixels, factor: int) -> Pixels:
    """Shrink by nearest neighbour, enlarge linearly."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def sharpen(image: Pixels, alpha: float, lightness: float) -> Pixels:
    """Mix the image (1 - alpha) with its 3 x 3 Laplacian sharpening of centre 8 + lightness."""
    kernel = np.full((3, 3), -alpha, np.float32)
    kernel[1, 1] = (1 - alpha) + alpha * (8 + lightness)
    return np.asarray(cv2.filter2D(image, -1, kernel), dtype=np.uint8)


def _clip(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
