"""Facts about a face crop measured by classical means: the captioning backend that needs no model."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mmidd.preprocess.blend.landmarks import Points
from mmidd.preprocess.blend.masks import hull_mask
from mmidd.preprocess.detectors.base import Pixels
from mmidd.preprocess.quality import luma, sharpness

Region = NDArray[np.bool_]

_BY_HUE = ("red", "orange", "yellow", "green", "cyan", "blue", "violet", "pink")
COLOURS = (*_BY_HUE, "black", "white", "grey", "brown", "beige")
_HUE_ENDS = (5, 22, 34, 80, 100, 132, 155, 172)
_BORDER = 0.12


class Facts(BaseModel):
    """What was measured; geometry is None without landmarks.

    Attributes:
        brightness: mean luma of the face, 0 to 255.
        contrast: standard deviation of the luma of the face.
        warmth: log2 of the mean red over the mean blue of the face; skin is about 0.65.
        side_light: luma of the image's left half of the face minus that of the right.
        sharpness: variance of the Laplacian of luma.
        yaw: nose offset from the middle of the eyes over the eye distance; above 0 the nose
            points to the right edge of the image.
        pitch: eyes to nose over eyes to mouth, along the face; about 0.54, more where the head is lowered.
        roll: tilt of the eye line in degrees, clockwise in the image is above 0.
        mouth_open: inner lip distance over mouth width.
        eyes_open: mean eye height over eye width.
        background_brightness: mean luma of the background.
        background_texture: mean gradient of the luma of the background, in grey levels per pixel.
        background_colour: the most frequent of `COLOURS` in the background.
        background_uniformity: its share, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    brightness: float
    contrast: float
    warmth: float
    side_light: float
    sharpness: float
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    mouth_open: float | None = None
    eyes_open: float | None = None
    background_brightness: float
    background_texture: float
    background_colour: str
    background_uniformity: float


def measure(image: Pixels, points: Points | None) -> Facts:
    """Measure a crop.

    Args:
        image: uint8 (H, W, 3) RGB.
        points: 68 landmarks (x, y) in crop pixels; without them the face is the central ellipse.

    Raises:
        DataError: `degenerate_hull`: the landmarks enclose nothing of the crop.
    """
    shape = image.shape[:2]
    face = _ellipse(shape) if points is None else hull_mask([points], *shape) > 127
    behind = _background(face, points)
    grey = luma(image).astype(np.float64)
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1)) / 8
    red, _, blue = image[face].mean(axis=0)
    colour, share = dominant_colour(image[behind])
    return Facts(
        brightness=_short(grey[face].mean()),
        contrast=_short(grey[face].std()),
        warmth=_short(np.log2((red + 1) / (blue + 1))),
        side_light=_short(_side_light(grey, face)),
        sharpness=_short(sharpness(image)),
        background_brightness=_short(grey[behind].mean()),
        background_texture=_short(gradient[behind].mean()),
        background_colour=colour,
        background_uniformity=_short(share),
        **({} if points is None else _geometry(points)),
    )


def dominant_colour(pixels: Pixels) -> tuple[str, float]:
    """The most frequent colour name of (n, 3) RGB pixels, and its share."""
    hue, saturation, value = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2HSV)[0].T.astype(int)
    skin_hue = (hue >= 5) & (hue < 22)
    rules = {
        "black": value < 40,
        "white": (saturation < 38) & (value > 210),
        "grey": saturation < 38,
        "brown": skin_hue & (value < 170),
        "beige": skin_hue & (saturation < 115),
    }
    by_hue = np.searchsorted(_HUE_ENDS, hue, side="right") % len(_BY_HUE)
    names = np.select(list(rules.values()), [COLOURS.index(name) for name in rules], by_hue)
    counts = np.bincount(names, minlength=len(COLOURS))
    return COLOURS[int(counts.argmax())], float(counts.max() / len(pixels))


def _side_light(grey: NDArray[np.float64], face: Region) -> float:
    columns = np.nonzero(face)[1]
    middle = np.median(columns)
    return float(grey[face][columns <= middle].mean() - grey[face][columns >= middle].mean())


def _geometry(p: Points) -> dict[str, float]:
    """Pose and openness from the 68-point scheme."""
    right, left = p[36:42].mean(axis=0), p[42:48].mean(axis=0)
    eyes, mouth = (right + left) / 2, p[48:68].mean(axis=0)
    span = max(float(np.linalg.norm(left - right)), 1e-6)
    along = (left - right) / span
    down = np.array([-along[1], along[0]])
    heights = [np.linalg.norm(p[a] - p[b]) for a, b in ((37, 41), (38, 40), (43, 47), (44, 46))]
    widths = [np.linalg.norm(p[a] - p[b]) for a, b in ((36, 39), (42, 45))]
    return {
        "yaw": _short((p[30] - eyes) @ along / span),
        "pitch": _short((p[30] - eyes) @ down / max(abs(float((mouth - eyes) @ down)), 1e-6)),
        "roll": _short(np.degrees(np.arctan2(along[1], along[0]))),
        "mouth_open": _short(np.linalg.norm(p[62] - p[66]) / max(float(np.linalg.norm(p[48] - p[54])), 1e-6)),
        "eyes_open": _short(np.mean(heights) / max(float(np.mean(widths)), 1e-6)),
    }


def _ellipse(shape: tuple[int, ...]) -> Region:
    height, width = shape
    y, x = np.ogrid[:height, :width]
    across, along = (x + 0.5 - width / 2) / (width * 3 / 8), (y + 0.5 - height / 2) / (height / 2)
    return np.asarray(across**2 + along**2 <= 1)


def _background(face: Region, points: Points | None) -> Region:
    """The left, right and upper border without the head; all of the border where the head covers it."""
    height, width = face.shape
    rim, side = max(1, round(_BORDER * height)), max(1, round(_BORDER * width))
    border = np.ones((height, width), dtype=bool)
    border[rim:, side : width - side] = False
    behind = border & ~(face if points is None else _head(points, face.shape))
    return behind if behind.any() else border


def _head(points: Points, shape: tuple[int, ...]) -> Region:
    """Hull of the landmarks and a forehead as high as the brows are above the nose's base."""
    forehead = points[17:27] + points[17:27].mean(axis=0) - points[33]
    outline = cv2.convexHull(np.concatenate([points, forehead]).astype(np.float32))
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(outline).astype(np.int32), 1)
    return np.asarray(mask, dtype=bool)


def _short(value: float | np.floating) -> float:
    return round(float(value), 4)
