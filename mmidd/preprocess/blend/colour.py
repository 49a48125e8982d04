"""Changes of colour and frequency on uint8 RGB images, as the recipes draw them.

The operations are those of mapooon/SelfBlendedImages utils/sbi.py.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mmidd.preprocess.blend.recipe import Change, Three
from mmidd.preprocess.detectors.base import Pixels


def apply(image: Pixels, change: Change) -> Pixels:
    """The changed image; the image itself where there is no change."""
    if change.rgb is not None:
        image = shift_rgb(image, change.rgb)
    if change.hsv is not None:
        image = shift_hsv(image, change.hsv)
    if change.light is not None:
        image = brighten(image, *change.light)
    if change.downscale is not None:
        image = downscale(image, change.downscale)
    if change.sharpen is not None:
        image = sharpen(image, *change.sharpen)
    if change.jpeg is not None:
        image = compress(image, change.jpeg)
    return image


def shift_rgb(image: Pixels, shift: Three) -> Pixels:
    """Add to red, green and blue, in grey levels."""
    return np.asarray(cv2.add(image, np.array([*shift, 0.0])), dtype=np.uint8)


def shift_hsv(image: Pixels, shift: Three) -> Pixels:
    """Add to hue (0..179, cyclic), saturation and value (0..255) and cut to integers.

    SBI gives its limits as 0.3, which on uint8 lowers a channel by one or leaves it.
    """
    hue, saturation, value = (math.floor(amount) for amount in shift)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    if hue:
        turned = ((np.arange(256) + hue) % 180).astype(np.uint8)
        cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, 0), turned), hsv, 0)
    if saturation or value:
        hsv = cv2.add(hsv, np.array([0.0, saturation, value, 0.0]))
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)


def brighten(image: Pixels, contrast: float, brightness: float) -> Pixels:
    """Multiply by 1 + contrast, then add brightness x 255."""
    table = _rounded(np.arange(256) * (1 + contrast) + 255 * brightness)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)


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


def compress(image: Pixels, quality: int) -> Pixels:
    """Through JPEG with halved colour resolution."""
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(data), dtype=np.uint8)


def _rounded(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
