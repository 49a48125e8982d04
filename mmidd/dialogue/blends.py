"""What can be truthfully said of a simulated forgery: from what was drawn to a finding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmidd.dialogue.finding import Finding, Region, place
from mmidd.preprocess.blend.landmarks import Points
from mmidd.preprocess.blend.recipe import Parameters
from mmidd.preprocess.blend.render import Blend
from mmidd.schema import Label

_GREY_LEVELS, _PIXELS, _SHARE = 5.0, 2.0, 0.5
"""From where on a difference is worth a word: of colour or light, of place, of the source's weight."""

REAL = Finding(Label.REAL, (), ())


def finding(blend: Blend) -> Finding:
    """Which regions are forged, where they lie in the image, and how they differ from the rest of it."""
    height, width = blend.mask.shape
    regions = tuple(
        Region(name, _place(corners, width, height))
        for name, corners in zip(blend.parameters.regions, blend.outlines, strict=True)
    )
    return Finding(Label.FAKE, regions, tuple(_traces(blend.parameters, width, height)))


def _place(corners: Points, width: int, height: int) -> str:
    """The field that holds the middle of a region's bounding box inside the image."""
    low, high = (np.clip(end, 0, (width - 1, height - 1)) for end in (corners.min(0), corners.max(0)))
    x, y = (low + high + 1) / 2 / (width, height)
    return place(float(x), float(y))


def _traces(drawn: Parameters, width: int, height: int) -> Iterator[str]:
    """Poisson's equation takes away what changes all of the source alike, and the seam."""
    change, alpha = drawn.change, drawn.compositor == "alpha"
    weight = drawn.ratio if alpha else 1.0
    if alpha and change.rgb and weight * max(map(abs, change.rgb)) >= _GREY_LEVELS:
        yield "colour"
    if alpha and change.light and weight * abs(128 * change.light[0] + 255 * change.light[1]) >= _GREY_LEVELS:
        yield "light"
    if weight >= _SHARE:
        on_source = drawn.changed == "source"
        yield "blurred" if (change.downscale is not None) == on_source else "sharpened"
        if np.abs(np.multiply(drawn.place.shift, (width, height))).max() >= _PIXELS:
            yield "shifted"
        if alpha:
            yield "seam"
