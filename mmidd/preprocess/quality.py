"""Cheap measurements of a crop: sharpness, brightness, perceptual hash."""

from __future__ import annotations

import cv2
import numpy as np

from mmidd.preprocess.detectors.base import Pixels


def luma(image: Pixels) -> Pixels:
    """BT.601 luma, uint8 (H, W), of uint8 (H, W, 3) RGB."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def sharpness(image: Pixels) -> float:
    """Variance of the Laplacian of the luma, 0 or more; blur lowers it."""
    return float(cv2.Laplacian(luma(image), cv2.CV_64F).var())


def brightness(image: Pixels) -> float:
    """Mean luma, 0 to 255."""
    return float(luma(image).mean())


def phash(image: Pixels) -> str:
    """64-bit perceptual hash as 16 hex digits; near duplicates differ in few bits.

    The signs, around their median, of the 8x8 lowest frequencies of the DCT of the luma at
    32x32 pixels, row by row, as in Zauner's pHash and the `imagehash` package.
    """
    small = cv2.resize(luma(image), (32, 32), interpolation=cv2.INTER_AREA)
    lowest = cv2.dct(small.astype(np.float64))[:8, :8]
    return np.packbits(lowest > np.median(lowest)).tobytes().hex()
