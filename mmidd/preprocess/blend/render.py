"""Make a forgery of a real face from what a recipe drew."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.errors import DataError
from mmidd.preprocess.blend.colour import apply
from mmidd.preprocess.blend.compose import LEAST_SIDE, POISSON_MARGIN, alpha_blend, poisson_blend
from mmidd.preprocess.blend.landmarks import FaceMarks, Points
from mmidd.preprocess.blend.masks import Mask, elastic, hull_mask, soften
from mmidd.preprocess.blend.recipe import RECIPES, Parameters, Placement, RecipeName
from mmidd.preprocess.blend.regions import hull_points, region_points
from mmidd.preprocess.detectors.base import Pixels

ATTEMPTS = 8
LEAST_CHANGE = 1.0
"""Mean change in grey levels below which nobody can see that a region is forged."""

FEATHER = 2 * POISSON_MARGIN + 1
"""Side of the kernel that gives a Poisson mask edges as soft as the solution's."""

CORE = 77
"""Mask values from here on (0.3) count as forged, as for AnomalyGPT's ground truth."""


@dataclass(frozen=True, eq=False)
class Blend:
    """A forgery of a real face.

    Attributes:
        real: the pristine twin, uint8 (H, W, 3) RGB; changed in colour where the target was.
        source: what was blended into it, before it was moved; see `moved_source`.
        fake: the forgery, same shape.
        mask: soft mask before the ratio, uint8 (H, W).
        outlines: corners (n, 2) of each named region, in the order of `parameters.regions`.
        parameters: what was drawn.
    """

    real: Pixels
    source: Pixels
    fake: Pixels
    mask: Mask
    outlines: tuple[Points, ...]
    parameters: Parameters


def draw_blend(image: Pixels, marks: FaceMarks, recipe: RecipeName, rng: np.random.Generator) -> Blend:
    """Draw until a forgery can be made, eight times at most.

    Args:
        image: uint8 (H, W, 3) RGB.
        marks: landmarks in pixels of `image`.
        recipe: name in `RECIPES`.
        rng: the only source of randomness.

    Raises:
        DataError: why the last drawing gave nothing; see `render`.
    """
    for _ in range(ATTEMPTS - 1):
        with suppress(DataError):
            return render(image, marks, RECIPES[recipe](rng))
    return render(image, marks, RECIPES[recipe](rng))


def render(image: Pixels, marks: FaceMarks, drawn: Parameters) -> Blend:
    """The forgery that was drawn, before the final augmentation.

    SBI's own affine fills with black beyond the source's border, which a mask at the border would
    blend in; here the source is mirrored.

    Raises:
        DataError: `degenerate_hull`, `region_too_small`, `empty_mask` or `invisible`.
    """
    height, width = image.shape[:2]
    changed = apply(image, drawn.change)
    source, target = (changed, image) if drawn.changed == "source" else (image, changed)
    matrix = _matrix(drawn.place, width, height)
    forehead = marks.forehead if drawn.forehead else marks.forehead[:0]
    face = FaceMarks(_moved(marks.points, matrix), _moved(forehead, matrix))
    outlines = tuple(_corners(region_points(face, name)) for name in drawn.regions)
    mask = _mask(face, outlines, drawn, height, width)
    fake, mask = _composed(source, target, mask, matrix, drawn)
    blend = Blend(target, source, fake, mask, outlines, drawn)
    if drawn.hull is None:
        _check_visible(blend)
    return blend


def moved_source(blend: Blend) -> Pixels:
    """All of the source in its place."""
    height, width = blend.mask.shape
    return _warped(blend.source, _matrix(blend.parameters.place, width, height), 0, 0, width, height)


def finished(blend: Blend) -> Blend:
    """The blend after the final augmentation, the same for forgery and twin."""
    final = blend.parameters.final
    return replace(blend, real=apply(blend.real, final), fake=apply(blend.fake, final))


def _mask(face: FaceMarks, outlines: tuple[Points, ...], drawn: Parameters, height: int, width: int) -> Mask:
    """What the compositor takes: a soft mask for alpha, a hard one for Poisson."""
    if drawn.hull is None:
        hulls, largest = outlines, _shortest_side(outlines, drawn.regions, height, width) // 3
    else:
        hulls, largest = tuple(hull_points(face, drawn.hull)), None
    hard = elastic(hull_mask(hulls, height, width, smooth=drawn.hull == "facehull"), drawn.field)
    return soften(hard, drawn.soften, largest) if drawn.compositor == "alpha" else hard


def _composed(
    source: Pixels, target: Pixels, mask: Mask, matrix: NDArray[np.float64], drawn: Parameters
) -> tuple[Pixels, Mask]:
    """The forgery and its soft mask; only the mask's rectangle is touched."""
    x, y, width, height = cv2.boundingRect(mask)
    box, fake = np.s_[y : y + height, x : x + width], target.copy()
    moved = _warped(source, matrix, x, y, width, height)
    if drawn.compositor == "alpha":
        fake[box] = alpha_blend(moved, target[box], mask[box], drawn.ratio)
        return fake, mask
    used = np.zeros_like(mask)
    fake[box], used[box] = poisson_blend(moved, target[box], mask[box])
    return fake, np.asarray(cv2.GaussianBlur(used, (FEATHER, FEATHER), 0), dtype=np.uint8)


def _warped(source: Pixels, matrix: NDArray[np.float64], x: int, y: int, width: int, height: int) -> Pixels:
    """The part of the moved source that begins at (x, y); beyond its border the source is mirrored."""
    part = matrix - [[0, 0, x], [0, 0, y]]
    moved = cv2.warpAffine(source, part, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.uint8)


def _matrix(place: Placement, width: int, height: int) -> NDArray[np.float64]:
    """(2, 3): scale and turn about the centre, then move."""
    turn, (across, down) = math.radians(place.degrees), place.scale
    cos, sin = math.cos(turn), math.sin(turn)
    x, y = (width - 1) / 2, (height - 1) / 2
    rows = ((cos * across, sin * down), (-sin * across, cos * down))
    shift = (x + place.shift[0] * width, y + place.shift[1] * height)
    return np.array(
        [[round(v, 9) for v in (a, b, end - a * x - b * y)] for (a, b), end in zip(rows, shift, strict=True)]
    )


def _moved(points: Points, matrix: NDArray[np.float64]) -> Points:
    """Without a matrix product, whose last bit depends on the machine."""
    x, y = points[:, 0], points[:, 1]
    return np.stack([a * x + b * y + c for a, b, c in matrix.tolist()], axis=1)


def _corners(points: Points) -> Points:
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], dtype=np.float64)


def _shortest_side(outlines: tuple[Points, ...], names: tuple[str, ...], height: int, width: int) -> int:
    """Of the regions' bounding boxes inside the image, in pixels."""
    sides = {}
    for name, corners in zip(names, outlines, strict=True):
        inside = np.clip(corners, 0, (width - 1, height - 1))
        sides[name] = int(np.ptp(inside, axis=0).min())
    smallest = min(sides, key=lambda name: sides[name])
    if sides[smallest] < LEAST_SIDE:
        raise DataError("region_too_small", f"the {smallest} is {sides[smallest]} pixels wide or high")
    return sides[smallest]


def _check_visible(blend: Blend) -> None:
    """Every named region must differ from the twin where the mask says so."""
    height, width = blend.mask.shape
    difference: Any = cv2.absdiff(blend.fake, blend.real).mean(axis=2)
    for name, corners in zip(blend.parameters.regions, blend.outlines, strict=True):
        part = (hull_mask([corners], height, width) > 0) & (blend.mask >= CORE)
        if not part.any() or difference[part].mean() < LEAST_CHANGE:
            raise DataError("invisible", f"the {name} cannot be told from the real one")
