"""Facts about a face crop measured by classical means: the captioning backend that needs no model."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mmidd.preprocess.quality import luma, sharpness

Pixels = NDArray[np.uint8]
Points = NDArray[np.float64]

_HUES = (
    (11, "red"),
    (23, "orange"),
    (34, "yellow"),
    (80, "green"),
    (100, "cyan"),
    (130, "blue"),
    (160, "violet"),
)


class Facts(BaseModel):
    """What was measured; geometry is None without landmarks.

    Attributes:
        brightness: mean luma of the face, 0 to 255.
        contrast: standard deviation of the luma of the face.
        warmth: mean red minus mean blue of the face; above 0 is warm.
        side_light: luma of the image's left half of the face minus that of the right.
        sharpness: variance of the Laplacian of luma.
        yaw: nose offset from the middle of the eyes over the eye distance; above 0 the nose
            points to the right edge of the image.
        pitch: eyes to nose over eyes to mouth, vertically; above 0.6 the head is lowered.
        roll: tilt of the eye line in degrees, clockwise in the image is above 0.
        mouth_open: inner lip distance over mouth width.
        eyes_open: mean eye height over eye width.
        background_brightness: mean luma outside the face.
        background_texture: mean gradient of the luma outside the face.
        background_colour: name of the dominant colour outside the face.
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


def measure(image: Pixels, points: Points | None) -> Facts:
    """Measure a crop.

    Args:
        image: uint8 (H, W, 3) RGB.
        points: 68 landmarks (x, y) in crop pixels; without them the face is the central ellipse.
    """
    face = _face_region(image, points)
    grey = luma(image).astype(np.float64)
    inside, outside = grey[face], grey[~face] if (~face).any() else grey.ravel()
    means = image[face].mean(axis=0)
    columns = np.nonzero(face)[1]
    middle = np.median(columns)
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1)) / 8
    return Facts(
        brightness=_short(inside.mean()),
        contrast=_short(inside.std()),
        warmth=_short(means[0] - means[2]),
        side_light=_short(inside[columns < middle].mean() - inside[columns >= middle].mean()),
        sharpness=_short(sharpness(image)),
        background_brightness=_short(outside.mean()),
        background_texture=_short(gradient[~face].mean() if (~face).any() else gradient.mean()),
        background_colour=colour_name(image[~face] if (~face).any() else image.reshape(-1, 3)),
        **(_geometry(points) if points is not None and len(points) == 68 else {}),
    )


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


def _face_region(image: Pixels, points: Points | None) -> NDArray[np.bool_]:
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    if points is None:
        cv2.ellipse(mask, (width // 2, height // 2), (width * 3 // 8, height // 2), 0, 0, 360, 1, -1)
    else:
        cv2.fillConvexPoly(mask, np.rint(cv2.convexHull(points.astype(np.float32))).astype(np.int32), 1)
    return np.asarray(mask, dtype=bool) if mask.any() else np.ones((height, width), dtype=bool)


def colour_name(pixels: Pixels) -> str:
    """Name of the median colour of (n, 3) RGB pixels."""
    median = np.median(pixels, axis=0).astype(np.uint8).reshape(1, 1, 3)
    hue, saturation, value = (int(v) for v in cv2.cvtColor(median, cv2.COLOR_RGB2HSV)[0, 0])
    if value < 40:
        return "black"
    if saturation < 38:
        return "white" if value > 210 else "grey"
    if 5 <= hue < 25 and value < 170:
        return "brown"
    return next((name for bound, name in _HUES if hue < bound), "red")


def _short(value: float | np.floating) -> float:
    return round(float(value), 4)
