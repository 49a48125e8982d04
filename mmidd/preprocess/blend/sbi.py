"""Self-blended images (Shiohara and Yamasaki, CVPR 2022): a face blended into itself.

One copy of a real face is changed in colour or frequency and shifted a little, then blended back
under a soft mask, so that only the traces of blending tell the fake from the real. Beyond its border
the moved copy is mirrored; SBI's own affine fills with black, which a mask at the border would blend in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from mmidd.preprocess.blend.colour import statistics_shift
from mmidd.preprocess.blend.masks import Mask, elastic, hull_mask, soften
from mmidd.preprocess.blend.regions import HULLS, Points
from mmidd.preprocess.detectors.base import Pixels

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
_SHIFT = (0.03, 0.015)
_SCALE = 0.95


@dataclass(frozen=True)
class Blend:
    """A forgery of a real face.

    Attributes:
        real: the pristine twin, uint8 (H, W, 3) RGB; colour-shifted when the target was.
        fake: the forgery, same shape.
        mask: soft mask before the blending ratio, float32 (H, W) in [0, 1].
        parameters: every drawn value, JSON-ready.
    """

    real: Pixels
    fake: Pixels
    mask: Mask
    parameters: dict[str, Any] = field(default_factory=dict)


def self_blend(image: Pixels, points: Points, rng: np.random.Generator) -> Blend:
    """Draw one self-blended image.

    Args:
        image: uint8 (H, W, 3) RGB.
        points: 68 landmarks (x, y) in pixels of `image`.
        rng: the only source of randomness.

    Raises:
        DataError: `degenerate_hull` or `empty_mask`.
    """
    height, width = image.shape[:2]
    family = str(rng.choice(list(HULLS)))
    mask = hull_mask(points, family, height, width)
    on_source = bool(rng.random() < 0.5)
    shifted, colour = statistics_shift(image, rng)
    source, target = (shifted, image) if on_source else (image, shifted)
    matrix, affine = _draw_affine(width, height, rng)
    source = _warp(source, matrix, cv2.BORDER_REFLECT_101)
    mask = np.asarray(_warp(mask, matrix, cv2.BORDER_CONSTANT), dtype=np.float32)
    mask, softening = soften(elastic(mask, rng), rng)
    ratio = float(rng.choice(RATIOS))
    fake = alpha_blend(source, target, mask * np.float32(ratio))
    drawn = {"hull": family, "shift_on": "source" if on_source else "target", **colour, **affine, **softening}
    return Blend(target, fake, mask, {**drawn, "ratio": ratio})


def alpha_blend(source: Pixels, target: Pixels, weight: Mask) -> Pixels:
    """Weight * source + (1 - weight) * target, cut to integers; exactly the target where weight is 0."""
    w = weight[..., None]
    return (w * source.astype(np.float32) + (1 - w) * target.astype(np.float32)).astype(np.uint8)


def _draw_affine(width: int, height: int, rng: np.random.Generator) -> tuple[Points, dict[str, Any]]:
    """Scale each axis by 0.95 to 1/0.95 around the centre and shift by up to 3 % and 1.5 %."""
    scale = rng.uniform(_SCALE, 1 / _SCALE, 2)
    shift = rng.uniform(-1, 1, 2) * _SHIFT * np.array([width, height])
    centre = np.array([width - 1, height - 1]) / 2
    matrix = np.column_stack([np.diag(scale), centre - scale * centre + shift])
    return matrix, {"scale": scale.tolist(), "translate": shift.tolist()}


def _warp(image: Any, matrix: Points, border: int) -> Any:
    height, width = image.shape[:2]
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)
