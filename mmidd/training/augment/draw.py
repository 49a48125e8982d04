"""What is drawn for one training crop, before its pixels are looked at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mmidd.training.ranges import Augment

Interpolation = Literal["linear", "cubic", "area"]
Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Affine:
    """Where the image goes: about its centre scaled and turned, then moved.

    Attributes:
        degrees: counter-clockwise as seen.
        shift: shares of width and height.
        border: what lies outside the image, `zero` or its mirror about the border pixels (`reflect`).
    """

    degrees: float
    scale: float
    shift: tuple[float, float]
    border: Literal["zero", "reflect"]


@dataclass(frozen=True, slots=True)
class Blur:
    """Gaussian blur; `kernel` is odd, `sigma` in pixels, 0 is OpenCV's kernel of that side."""

    kernel: int
    sigma: float


@dataclass(frozen=True, slots=True)
class Resize:
    """The interpolations for either direction."""

    shrink: Interpolation
    enlarge: Interpolation


@dataclass(frozen=True, slots=True)
class Light:
    """x becomes gain x + of_mean m + offset; m is the mean of the image's luma, all in grey levels."""

    gain: float
    of_mean: float
    offset: float


@dataclass(frozen=True, slots=True)
class Pca:
    """Added to every pixel: 255 C w, C being the covariance of the channels in [0, 1].

    With w normal this is Krizhevsky et al. (2012), section 4.1: they add V (a * l) with C = V diag(l) V',
    and a = V' w is as normal as w.
    """

    weights: Three


@dataclass(frozen=True, slots=True)
class Hsv:
    """Added to hue (0..179, cyclic), saturation and value (0..255), cut to whole numbers."""

    shift: Three


@dataclass(frozen=True, slots=True)
class Draw:
    """The changes of one crop, in this order; none is no change.

    Attributes:
        flip: left becomes right.
        resize: to the network's size here; without it, after everything else, by `LAST`.
        jpeg: quality in 1..100, 4:2:0.
    """

    flip: bool = False
    affine: Affine | None = None
    blur: Blur | None = None
    resize: Resize | None = None
    colour: Light | Pca | Hsv | None = None
    jpeg: int | None = None

    @property
    def geometry(self) -> Draw:
        """The changes of place alone: what a mask undergoes."""
        return replace(self, blur=None, colour=None, jpeg=None)


LAST = Resize("area", "cubic")
PAIRS = (LAST, Resize("area", "linear"), Resize("linear", "linear"))
"""The pairs of DeepfakeBench, training/dataset/abstract_dataset.py."""


def sample_generator(seed: int, epoch: int, batch: int, sample_id: str) -> np.random.Generator:
    """The generator of one draw of a sample, which batch `batch` of an epoch holds."""
    key = int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng([seed, epoch, batch, key])


def draw(ranges: Augment, rng: np.random.Generator) -> Draw:
    """Draw the changes of one crop.

    Order: LNCLIP-DF (arXiv 2508.06248) as in its authors' code, and DeepfakeBench, which are the same but
    for the place of the resize.
    """
    return Draw(
        flip=rng.random() < ranges.hflip_p,
        affine=_affine(ranges, rng) if rng.random() < ranges.affine_p else None,
        blur=_blur(ranges, rng) if rng.random() < ranges.blur_p else None,
        resize=PAIRS[_whole(rng, 0, len(PAIRS) - 1)] if rng.random() < ranges.resize_p else None,
        colour=_colour(ranges, rng) if rng.random() < ranges.colour_p else None,
        jpeg=_whole(rng, *ranges.jpeg_quality) if rng.random() < ranges.jpeg_p else None,
    )


def _affine(ranges: Augment, rng: np.random.Generator) -> Affine:
    shift = (_about(rng, ranges.translate), _about(rng, ranges.translate))
    return Affine(_about(rng, ranges.rotate), rng.uniform(*ranges.scale), shift, ranges.border)


def _blur(ranges: Augment, rng: np.random.Generator) -> Blur:
    # As albumentations 1.x: an even side counts as the next odd one, so the smallest is half as likely.
    kernel = _whole(rng, *ranges.blur_kernel) | 1
    return Blur(kernel, rng.uniform(*ranges.blur_sigma) if ranges.blur_sigma else 0.0)


def _colour(ranges: Augment, rng: np.random.Generator) -> Light | Pca | Hsv:
    match ranges.colours[_whole(rng, 0, len(ranges.colours) - 1)]:
        case "jitter":
            brightness, contrast = 1 + _about(rng, ranges.brightness), 1 + _about(rng, ranges.contrast)
            return Light(brightness * contrast, brightness * (1 - contrast), 0.0)
        case "brightness_contrast":
            return Light(1 + _about(rng, ranges.contrast), 0.0, 255 * _about(rng, ranges.brightness))
        case "fancy_pca":
            return Pca((rng.normal(0, ranges.pca), rng.normal(0, ranges.pca), rng.normal(0, ranges.pca)))
        case "hue_saturation_value":
            hue, saturation = _about(rng, ranges.hue), _about(rng, ranges.saturation)
            return Hsv((hue, saturation, _about(rng, ranges.value)))


def _about(rng: np.random.Generator, limit: float) -> float:
    return rng.uniform(-limit, limit)


def _whole(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))
