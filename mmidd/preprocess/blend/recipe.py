"""The recipes of self-blended forgeries: what is drawn, and from which distributions.

`sbi` is Self-Blended Images (Shiohara and Yamasaki, CVPR 2022; mapooon/SelfBlendedImages utils/sbi.py):
the whole face. `regional` is the variant of KFD (arXiv 2503.14853, section 3.3): one to three named
regions, blended softly (`regional-alpha`), by Poisson's equation (`regional-poisson`) or by either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from mmidd.preprocess.blend.regions import FULL_FACE, HULLS, choices

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
SHIFT_X, SHIFT_Y, SCALE, DEGREES = 0.03, 0.015, 0.95, 3.0
MASK_SIDE, KERNEL, SIGMA = (192, 256), (5, 25), (5, 45)
RGB, HSV, LIGHT, FINAL_LIGHT, QUALITY = 20.0, 0.3, 0.1, 0.3, (40, 100)
SHARPEN_ALPHA, SHARPEN_LIGHTNESS = (0.2, 0.5), (0.5, 1.0)

RecipeName = Literal["sbi", "regional", "regional-alpha", "regional-poisson"]
Compositor = Literal["alpha", "poisson"]
Three = tuple[float, float, float]


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
    hull = list(HULLS)[rng.integers(len(HULLS))]
    forehead = bool(rng.random() >= 0.25)
    return _drawn(rng, hull, forehead, (FULL_FACE,), "alpha", degrees=0.0)


def draw_regional(rng: np.random.Generator, compositors: tuple[Compositor, ...]) -> Parameters:
    """Draw a blend of one to three regions; k is uniform, then the set among those `choices` allows."""
    allowed = choices(int(rng.integers(1, 4)))
    regions = allowed[rng.integers(len(allowed))]
    compositor = compositors[rng.integers(len(compositors))]
    return _drawn(rng, None, True, regions, compositor, DEGREES)


RECIPES: dict[RecipeName, Callable[[np.random.Generator], Parameters]] = {
    "sbi": draw_sbi,
    "regional": partial(draw_regional, compositors=("alpha", "poisson")),
    "regional-alpha": partial(draw_regional, compositors=("alpha",)),
    "regional-poisson": partial(draw_regional, compositors=("poisson",)),
}
"""How to draw each recipe."""


def _drawn(
    rng: np.random.Generator,
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
        changed="source" if rng.random() < 0.5 else "target",
        change=_change(rng),
        place=_placement(rng, degrees),
        field=int(rng.integers(2**32)),
        soften=_softening(rng),
        compositor=compositor,
        ratio=RATIOS[rng.integers(len(RATIOS))],
        final=_final(rng),
    )


def _change(rng: np.random.Generator) -> Change:
    rgb = _three(rng, RGB) if rng.random() < 0.3 else None
    change = Change(rgb=rgb, hsv=_three(rng, HSV), light=_pair(rng, LIGHT))
    if rng.random() < 0.5:
        return change.model_copy(update={"downscale": 2 if rng.random() < 0.5 else 4})
    sharpen = (_between(rng, *SHARPEN_ALPHA), _between(rng, *SHARPEN_LIGHTNESS))
    return change.model_copy(update={"sharpen": sharpen})


def _final(rng: np.random.Generator) -> Change:
    return Change(
        rgb=_three(rng, RGB) if rng.random() < 0.3 else None,
        hsv=_three(rng, HSV) if rng.random() < 0.3 else None,
        light=_pair(rng, FINAL_LIGHT) if rng.random() < 0.3 else None,
        jpeg=int(rng.integers(QUALITY[0], QUALITY[1] + 1)) if rng.random() < 0.5 else None,
    )


def _placement(rng: np.random.Generator, degrees: float) -> Placement:
    scale = (_between(rng, SCALE, 1 / SCALE), _between(rng, SCALE, 1 / SCALE))
    shift = (_between(rng, -SHIFT_X, SHIFT_X), _between(rng, -SHIFT_Y, SHIFT_Y))
    return Placement(scale=scale, shift=shift, degrees=_between(rng, -degrees, degrees))


def _softening(rng: np.random.Generator) -> Softening:
    low, high = MASK_SIDE
    side = (int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1)))
    sigma = int(rng.integers(SIGMA[0], SIGMA[1] + 1))
    return Softening(side=side, erode=_odd(rng), blur=_odd(rng), sigma=sigma)


def _odd(rng: np.random.Generator) -> int:
    low, high = KERNEL
    return int(low + 2 * rng.integers(0, (high - low) // 2 + 1))


def _three(rng: np.random.Generator, limit: float) -> Three:
    return (_between(rng, -limit, limit), _between(rng, -limit, limit), _between(rng, -limit, limit))


def _pair(rng: np.random.Generator, limit: float) -> tuple[float, float]:
    return (_between(rng, -limit, limit), _between(rng, -limit, limit))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform, to six decimals: what a machine's arithmetic does to the last bit changes no mask."""
    return round(low + (high - low) * float(rng.random()), 6)
