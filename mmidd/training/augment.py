"""Augmentation of training crops, a function of (seed, epoch, batch, sample) alone."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mmidd.training.config import Augment

Image = NDArray[np.uint8]


def sample_generator(seed: int, epoch: int, batch: int, sample_id: str) -> np.random.Generator:
    """The generator of one draw of a sample, which batch `batch` of an epoch holds."""
    key = int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng([seed, epoch, batch, key])


def augment(image: Image, ranges: Augment, rng: np.random.Generator) -> Image:
    """A changed copy of an RGB crop (H, W, 3), same shape.

    Order and default ranges: LNCLIP-DF, arXiv 2508.06248, as in its authors' code.
    """
    if rng.random() < ranges.hflip_p:
        image = np.ascontiguousarray(image[:, ::-1])
    if rng.random() < ranges.affine_p:
        image = _affine(image, ranges, rng)
    if rng.random() < ranges.blur_p:
        image = _as_uint8(cv2.GaussianBlur(image, (7, 7), rng.uniform(*ranges.blur_sigma)))
    if rng.random() < ranges.light_p:
        image = _light(image, ranges, rng)
    if rng.random() < ranges.jpeg_p:
        low, high = ranges.jpeg_quality
        data = simplejpeg.encode_jpeg(image, quality=int(rng.integers(low, high + 1)), colorsubsampling="420")
        image = simplejpeg.decode_jpeg(data)
    return image


def resize(image: Image, size: int) -> Image:
    """The crop at size x size; area average when it shrinks, cubic when it grows."""
    if image.shape[:2] == (size, size):
        return image
    method = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
    return _as_uint8(cv2.resize(image, (size, size), interpolation=method))


def _affine(image: Image, ranges: Augment, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    angle = rng.uniform(-ranges.rotate, ranges.rotate)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, rng.uniform(*ranges.scale))
    shift = rng.uniform(-ranges.translate, ranges.translate, 2) * (width, height)
    matrix = matrix + np.column_stack([np.zeros((2, 2)), shift])
    return _as_uint8(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR))


def _light(image: Image, ranges: Augment, rng: np.random.Generator) -> Image:
    brightness = 1 + rng.uniform(-ranges.brightness, ranges.brightness)
    contrast = 1 + rng.uniform(-ranges.contrast, ranges.contrast)
    levels = np.arange(256) * brightness
    mean = float(image.mean()) * brightness
    table = (mean + (levels - mean) * contrast).round().clip(0, 255)
    return _as_uint8(cv2.LUT(image, _as_uint8(table)))


def _as_uint8(image: object) -> Image:
    return np.asarray(image, dtype=np.uint8)
