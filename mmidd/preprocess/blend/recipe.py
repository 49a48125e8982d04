"""The recipes of self-blended forgeries: what is drawn, and from which distributions.

`sbi` is Self-Blended Images (Shiohara and Yamasaki, CVPR 2022; mapooon/SelfBlendedImages utils/sbi.py):
the whole face. `regional` is the variant of KFD (arXiv 2503.14853, section 3.3): one to three named
regions, blended softly (`regional-alpha`), by Poisson's equation (`regional-poisson`) or by either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from mmidd.preprocess.blend.regions import FULL_FACE, HULLS, choices

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
SHIFT_X, SHIFT_Y, SCALE, DEGREES = 0.03, 0.015, 0.95, 3.0
MASK_SIDE, KERNELS, SIGMA = (192, 256), range(5, 26, 2), (5, 45)
RGB, HSV, LIGHT, FINAL_LIGHT, QUALITY = 20.0, 0.3, 0.1, 0.3, (40, 100)
SHARPEN_ALPHA, SHARPEN_LIGHTNESS = (0.2, 0.5), (0.5, 1.0)

RecipeName = Literal["sbi", "regional", "regional-alpha", "regional-poisson"]
Compositor = Literal["alpha", "poisson"]
Three = tuple[float, float, float]
T = TypeVar("T")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Frozen):
    """A change of colour and frequency, in this order; none is no change.

    Attributes:
        rgb: grey levels added to red, green and blue.
        hsv: added to hue (0..179), saturation and value (0..255).
        light: contrast c and brightness b, as in x (1 + c) + 255 b.
        downscale: factor of a nearest-neighbour reduction, enlarged again linearly.
        sharpen: weight and lightness of a Laplacian sharpening.
        jpeg: quality, 4:2:0.
    """

    rgb: Three | None = None
    hsv: Three | None = None
    light: tuple[float, float] | None = None
    downscale: int | None = None
    sharpen: tuple[float, float] | None = None
    jpeg: int | None = None


class Placement(_Frozen):
    """Where the source goes: about the centre, scaled per axis, turned, then moved.

    Attributes:
        scale: factors of width and height.
        shift: shares of width and height.
        degrees: counter-clockwise as seen.
    """

    scale: tuple[float, float]
    shift: tuple[float, float]
    degrees: float = 0.0


class Softening(_Frozen):
    """How a hard mask becomes soft.

    Attributes:
        side: height and width in pixels at which it happens.
        erode: odd side of the square that must lie inside the mask for its centre to be kept.
        blur: odd side of the Gaussian kernel.
        sigma: of the kernel, in pixels.
    """

    side: tuple[int, int]
    erode: int
    blur: int
    sigma: int


class Parameters(_Frozen):
    """Every drawn value of one forgery; with the real and its landmarks it gives the forgery again.

    Attributes:
        hull: family of `regions.HULLS`, or none where named regions are blended.
        forehead: forehead points, where the landmarks have such, belong to the face.
        regions: what a text may name.
        changed: which of the two copies `change` is made to.
        change: what is done to that copy.
        place: where the source and the mask go.
        field: seed of the elastic deformation of the mask.
        soften: used by the alpha compositor alone.
        compositor: `alpha`: m source + (1 - m) target; `poisson`: gradients of the source.
        ratio: m is the soft mask times this.
        final: augmentation of forgery and twin.
    """

    hull: str | None = None
    forehead: bool
    regions: tuple[str, ...]
    changed: Literal["source", "target"]
    change: Change
    place: Placement
    field: int
    soften: Softening
    compositor: Compositor
    ratio: float
    final: Change


def draw_sbi(rng: np.random.Generator) -> Parameters:
    """Draw a self-blended image."""
    draw = _Draws(rng)
    hull, forehead = draw.one_of(tuple(HULLS)), not draw.happens(0.25)
    return _drawn(draw, hull, forehead, (FULL_FACE,), "alpha", degrees=0.0)


def draw_regional(rng: np.random.Generator, compositors: tuple[Compositor, ...]) -> Parameters:
    """Draw a blend of one to three regions; k is uniform, then the set among those `choices` allows."""
    draw = _Draws(rng)
    regions = draw.one_of(choices(draw.whole(1, 3)))
    return _drawn(draw, None, True, regions, draw.one_of(compositors), DEGREES)


RECIPES: dict[RecipeName, Callable[[np.random.Generator], Parameters]] = {
    "sbi": draw_sbi,
    "regional": partial(draw_regional, compositors=("alpha", "poisson")),
    "regional-alpha": partial(draw_regional, compositors=("alpha",)),
    "regional-poisson": partial(draw_regional, compositors=("poisson",)),
}
"""How to draw each recipe."""


class _Draws:
    """Values from one block of uniform numbers, which is several times faster than a call for each."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._next: Callable[[], float] = iter(rng.random(64).tolist()).__next__

    def happens(self, probability: float) -> bool:
        """True with that probability."""
        return self._next() < probability

    def one_of(self, items: Sequence[T]) -> T:
        """One of the items, all equally likely."""
        return items[int(self._next() * len(items))]

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._next() * (high - low + 1))

    def between(self, low: float, high: float) -> float:
        """Uniform, to six decimals: what a machine's arithmetic does to the last bit changes no mask."""
        return round(low + (high - low) * self._next(), 6)

    def about(self, limit: float) -> float:
        """Uniform from -limit to limit."""
        return self.between(-limit, limit)


def _drawn(
    draw: _Draws,
    hull: str | None,
    forehead: bool,
    regions: tuple[str, ...],
    compositor: Compositor,
    degrees: float,
) -> Parameters:
    """The rest of a drawing, which all recipes share."""
    return Parameters(
        hull=hull,
        forehead=forehead,
        regions=regions,
        changed="source" if draw.happens(0.5) else "target",
        change=_change(draw),
        place=_placement(draw, degrees),
        field=draw.whole(0, 2**32 - 1),
        soften=_softening(draw),
        compositor=compositor,
        ratio=draw.one_of(RATIOS),
        final=_final(draw),
    )


def _change(draw: _Draws) -> Change:
    rgb = _three(draw, RGB) if draw.happens(0.3) else None
    hsv, light = _three(draw, HSV), (draw.about(LIGHT), draw.about(LIGHT))
    if draw.happens(0.5):
        return Change(rgb=rgb, hsv=hsv, light=light, downscale=draw.one_of((2, 4)))
    sharpen = (draw.between(*SHARPEN_ALPHA), draw.between(*SHARPEN_LIGHTNESS))
    return Change(rgb=rgb, hsv=hsv, light=light, sharpen=sharpen)


def _final(draw: _Draws) -> Change:
    return Change(
        rgb=_three(draw, RGB) if draw.happens(0.3) else None,
        hsv=_three(draw, HSV) if draw.happens(0.3) else None,
        light=(draw.about(FINAL_LIGHT), draw.about(FINAL_LIGHT)) if draw.happens(0.3) else None,
        jpeg=draw.whole(*QUALITY) if draw.happens(0.5) else None,
    )


def _placement(draw: _Draws, degrees: float) -> Placement:
    scale = (draw.between(SCALE, 1 / SCALE), draw.between(SCALE, 1 / SCALE))
    shift = (draw.about(SHIFT_X), draw.about(SHIFT_Y))
    return Placement(scale=scale, shift=shift, degrees=draw.about(degrees))


def _softening(draw: _Draws) -> Softening:
    side = (draw.whole(*MASK_SIDE), draw.whole(*MASK_SIDE))
    erode, blur = draw.one_of(KERNELS), draw.one_of(KERNELS)
    return Softening(side=side, erode=erode, blur=blur, sigma=draw.whole(*SIGMA))


def _three(draw: _Draws, limit: float) -> Three:
    return (draw.about(limit), draw.about(limit), draw.about(limit))
