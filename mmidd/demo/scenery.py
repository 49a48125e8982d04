"""Pictures without people, for sources that hold none."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mmidd.demo.forge import Forgery, Still
from mmidd.demo.portraits import TILE, Portrait
from mmidd.demo.warp import to_pixels


def scenery(people: Sequence[Portrait], rng: np.random.Generator, strength: float) -> Still:
    """Nothing in front of the background."""
    del people, rng, strength
    width, height = TILE
    nothing = np.zeros((height, width), np.uint8)
    return Still(np.zeros((height, width, 3), np.uint8), nothing, nothing)


def rendering(people: Sequence[Portrait], rng: np.random.Generator, strength: float) -> Still:
    """Smooth coloured blobs over the background."""
    del people, strength
    width, height = TILE
    noise = rng.uniform(0, 255, (6, 5, 3)).astype(np.float32)
    image = to_pixels(np.asarray(cv2.resize(noise, TILE, interpolation=cv2.INTER_CUBIC), np.float32))
    whole = np.full((height, width), 255, np.uint8)
    return Still(image, whole, whole)


SCENERY: dict[str, Forgery] = {"scenery": scenery, "rendering": rendering}
"""Both kinds by name."""
