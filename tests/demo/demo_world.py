"""A drawn portrait for unit tests, and one small world of the packaged portraits for the whole session."""

from __future__ import annotations

import functools
import tempfile
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmidd.demo.portraits import TILE, Points, Portrait
from mmidd.demo.world import WorldSummary, build_world

needs_portraits = pytest.mark.skipif(
    find_spec("skimage") is None or find_spec("insightface") is None,
    reason="the packaged portraits need scikit-image and insightface",
)


def face_points(spread: float = 0.0, seed: int = 0) -> Points:
    """68 landmarks of a drawn face in tile pixels, each moved by noise of the given spread."""
    angles = np.linspace(0, np.pi, 17)
    jaw = np.stack([208 - 80 * np.cos(angles), 215 + 105 * np.sin(angles)], 1)
    brows = [[x, 190 - 6 * np.sin(i / 4 * np.pi)] for i, x in enumerate(np.linspace(140, 190, 5))]
    brows += [[x, 190 - 6 * np.sin(i / 4 * np.pi)] for i, x in enumerate(np.linspace(226, 276, 5))]
    nose = [[208, y] for y in (205, 220, 235, 250)] + [[x, 262] for x in (192, 200, 208, 216, 224)]
    turn = np.linspace(np.pi, -np.pi, 6, endpoint=False)
    eyes = [[cx + 14 * np.cos(a), 212 - 5 * np.sin(a)] for cx in (166, 250) for a in turn]
    outer, inner = (
        np.linspace(np.pi, -np.pi, 12, endpoint=False),
        np.linspace(np.pi, -np.pi, 8, endpoint=False),
    )
    mouth = [[208 + 32 * np.cos(a), 288 - 11 * np.sin(a)] for a in outer]
    mouth += [[208 + 24 * np.cos(a), 288 - 4 * np.sin(a)] for a in inner]
    points = np.concatenate([jaw, brows, nose, eyes, mouth])
    return np.asarray(points + np.random.default_rng(seed).normal(0, spread, points.shape), np.float32)


def drawn_portrait(name: str = "ann", seed: int = 0) -> Portrait:
    """A portrait of textured colour with a drawn face; the photo covers the tile but for a border."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(60, 190, (60, 52, 3), np.uint8), TILE, interpolation=cv2.INTER_CUBIC)
    points = face_points(1.5, seed)
    cv2.polylines(image, [points.round().astype(np.int32)], False, (20, 20, 20), 2)
    matte = np.zeros(TILE[::-1], np.uint8)
    matte[20:-20, 20:-20] = 255
    return Portrait(name, np.asarray(image, np.uint8), matte, points)


@functools.cache
def small_world() -> WorldSummary:
    """About 144 clips of a third of a second, made once; fewer would leave AUCs to chance."""
    root = Path(tempfile.mkdtemp(prefix="mmidd-demo-"))
    return build_world(root / "world", clips=144, seconds=0.3, workers=2)
