"""Colour and frequency transforms of SBI on uint8 RGB images, every value drawn from one generator.

Ranges as in mapooon/SelfBlendedImages utils/sbi.py. Each function returns the image and what was drawn.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.preprocess.detectors.base import Pixels

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
        image = shift_rgb(image, drawn["rgb_shift"])
    drawn["hsv_shift"] = [float(v) for v in rng.uniform(-_HSV_SHIFT, _HSV_SHIFT, 3)]
    image = shift_hsv(image, drawn["hsv_shift"])
    drawn["contrast"], drawn["brightness"] = (float(v) for v in rng.uniform(-_LIGHT, _LIGHT, 2))
    image = brighten(image, drawn["contrast"], drawn["brightness"])
    if rng.random() < 0.5:
        drawn["downscale"] = int(rng.choice([2, 4]))
        return downscale(image, drawn["downscale"]), drawn
    drawn["sharpen"] = [float(rng.uniform(*_SHARPEN_ALPHA)), float(rng.uniform(*_SHARPEN_LIGHTNESS))]
    return sharpen(image, *drawn["sharpen"]), drawn


def shift_hsv(image: Pixels, shift: list[float]) -> Pixels:
    """Add to hue (0..179, cyclic), saturation and value (0..255) and cut to integers.

    SBI gives its limits as 0.3, which on uint8 lowers a channel by one or leaves it.
    """
    levels = np.arange(256)
    hue, saturation, value = (levels + amount for amount in shift)
    table = np.stack([hue % 180, np.clip(saturation, 0, 255), np.clip(value, 0, 255)], axis=-1)
    shifted = _looked_up(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), np.floor(table).astype(np.uint8))
    return np.asarray(cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB), dtype=np.uint8)


def shift_rgb(image: Pixels, shift: list[float]) -> Pixels:
    """Add to red, green and blue, in grey levels."""
    return _looked_up(image, _rounded(np.arange(256)[:, None] + np.asarray(shift)))


def brighten(image: Pixels, contrast: float, brightness: float) -> Pixels:
    """Multiply by 1 + contrast, then add brightness x 255."""
    table = np.arange(256)[:, None] * (1 + contrast) + 255 * brightness
    return _looked_up(image, _rounded(np.repeat(table, 3, axis=1)))


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


def _looked_up(image: Any, table: Pixels) -> Pixels:
    """Every channel through its own column of a (256, 3) table."""
    return np.asarray(cv2.LUT(image, table.reshape(1, 256, 3)), dtype=np.uint8)


def _rounded(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
