"""A drawing rendered with OpenCV and libjpeg in the calling thread, most of it without the GIL."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.preprocess.blend.colour import compress, shift_hsv, shift_rgb
from mmidd.preprocess.detectors.base import Pixels
from mmidd.training.augment.draw import LAST, Draw, Hsv, Light, Pca, Resize
from mmidd.training.augment.geometry import interpolation, moved_to, resampling, source_of

LUMA = (0.299, 0.587, 0.114)
_BORDERS = {"zero": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}
_METHODS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


def apply(image: Pixels, draw: Draw, size: int) -> Pixels:
    """The changed crop.

    Args:
        image: RGB (H, W, 3); it is not changed.
        draw: what to do.
        size: side of the result in pixels.

    Returns:
        RGB (size, size, 3), the image itself where nothing changes.
    """
    image = _moved(image, draw, size)
    if draw.blur is not None:
        side, sigma = draw.blur.kernel, draw.blur.sigma
        image = _uint8(cv2.GaussianBlur(image, (side, side), sigma))
    if draw.resize is not None:
        image = _resized(image, size, draw.resize)
    image = _coloured(image, draw.colour)
    if draw.jpeg is not None:
        image = compress(image, draw.jpeg)
    return resize(image, size)


def apply_to_mask(mask: Pixels, draw: Draw, size: int) -> Pixels:
    """The mask (size, size) of the changed crop, of a mask (H, W): it moves as the crop does."""
    grey = np.repeat(mask[..., None], 3, axis=2)
    return apply(grey, draw.geometry, size)[..., 0]


def resize(image: Pixels, size: int) -> Pixels:
    """The crop at size x size; area average when it shrinks, cubic when it grows."""
    return _resized(image, size, LAST)


def _moved(image: Pixels, draw: Draw, size: int) -> Pixels:
    if draw.affine is None:
        return _uint8(cv2.flip(image, 1)) if draw.flip else image
    height, width = image.shape[:2]
    rows, columns = moved_to(draw, height, width, size)
    matrix = source_of(draw, height, width, size)
    flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, _BORDERS[draw.affine.border]
    moved = cv2.warpAffine(_padded(image), matrix, (columns, rows), flags=flags, borderMode=border)
    return _uint8(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB))


def _resized(image: Pixels, size: int, resize: Resize) -> Pixels:
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    method = interpolation(height, width, size, resize)
    taps = _area_taps(height, width, size) if method == "area" else None
    if taps is None:
        return _uint8(cv2.resize(image, (size, size), interpolation=_METHODS[method]))
    resized = cv2.remap(_padded(image), *taps, cv2.INTER_LINEAR)
    return _uint8(cv2.cvtColor(resized, cv2.COLOR_RGBA2RGB))


@cache
def _area_taps(height: int, width: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Where linear interpolation gives the area average, which takes three times as long.

    None where an average has more than the two pixels that interpolation sees.
    """
    columns, rows = (resampling("area", length, size) for length in (width, height))
    if max(np.count_nonzero(weights > 1e-9, axis=1).max() for weights in (columns, rows)) > 2:
        return None
    x, y = (weights @ np.arange(weights.shape[1], dtype=np.float32) for weights in (columns, rows))
    grid = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return np.ascontiguousarray(grid[0]), np.ascontiguousarray(grid[1])


def _coloured(image: Pixels, colour: Light | Pca | Hsv | None) -> Pixels:
    match colour:
        case None:
            return image
        case Light(gain, of_mean, offset):
            mean = float(np.dot(cv2.mean(image)[:3], LUMA)) if of_mean else 0.0
            return _uint8(cv2.addWeighted(image, gain, image, 0, offset + of_mean * mean))
        case Pca(weights):
            red, green, blue = 255 * _covariance(image) @ weights
            return shift_rgb(image, (red, green, blue))
        case Hsv(shift):
            return shift_hsv(image, shift)


def _covariance(image: Pixels) -> NDArray[np.float64]:
    """Of the channels, in [0, 1]."""
    pixels = image.reshape(-1, 3)
    mean = np.array(cv2.mean(image)[:3])
    squares: NDArray[np.float64] = np.asarray(cv2.mulTransposed(pixels, True, dtype=cv2.CV_64F))
    count = len(pixels)
    centred: NDArray[np.float64] = squares - count * np.outer(mean, mean)
    return centred / (255**2 * (count - 1))


def _padded(image: Pixels) -> Pixels:
    """With a fourth channel: OpenCV moves such pixels in half the time."""
    return _uint8(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA))


def _uint8(image: object) -> Pixels:
    return np.asarray(image, dtype=np.uint8)
