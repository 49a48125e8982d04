"""Facial landmarks on one scheme: the 68 points of iBUG 300-W and, where a scheme has them, the forehead.

Regions and hulls are defined on these 68 points once; every other scheme is projected onto them by
choosing, for each, the point of that scheme that lies there.

- `dlib68` is the scheme itself (Sagonas et al., 300 Faces in-the-Wild, ICCVW 2013).
- `dlib81` (codeniko/shape_predictor_81_face_landmarks) adds 13 forehead points, listed here along the
  outline as SBI orders them (mapooon/SelfBlendedImages utils/sbi.py, `reorder_landmark`).
- `insightface106` is InsightFace's `2d106det`, the 106 points of Face++ in the alphabetical order of
  their names: `contour_chin`, `contour_left1`, `contour_left10`, ... It has no forehead.
- `mediapipe478` is MediaPipe Face Mesh with irises, numbered as in its `canonical_face_model.obj`. The
  jaw lies on the mesh's rim, nearest to where dlib's jaw points fall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmidd.errors import DataError

Points = NDArray[np.float64]

# fmt: off
MIRROR = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1),
    *range(64, 59, -1), 67, 66, 65,
)
"""Index of each of the 68 points' counterpart on the other side of the face."""

_FOREHEAD81 = (77, 75, 76, 68, 69, 70, 71, 80, 72, 73, 79, 74, 78)

_INSIGHTFACE106 = (
    1, 10, 12, 14, 16, 3, 5, 7, 0, 23, 21, 19, 32, 30, 28, 26, 17,
    43, 48, 49, 51, 50, 102, 103, 104, 105, 101,
    72, 73, 74, 86, 78, 79, 80, 85, 84,
    35, 41, 42, 39, 37, 36, 89, 95, 96, 93, 91, 90,
    52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55,
    65, 66, 62, 70, 69, 57, 60, 54,
)

_MEDIAPIPE478 = (
    127, 234, 93, 132, 172, 136, 149, 176, 152, 400, 378, 365, 397, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91,
    78, 82, 13, 312, 308, 317, 14, 87,
)
_FOREHEAD478 = (162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389)
# fmt: on


@dataclass(frozen=True)
class Scheme:
    """How to read a landmark scheme.

    Attributes:
        count: number of points of the scheme.
        indices: for each of the 68 points, the index of the scheme's point that lies there.
        forehead: indices of the forehead points, from image left to image right; may be empty.
    """

    count: int
    indices: tuple[int, ...]
    forehead: tuple[int, ...] = ()


SCHEMES = {
    "dlib68": Scheme(68, tuple(range(68))),
    "dlib81": Scheme(81, tuple(range(68)), _FOREHEAD81),
    "insightface106": Scheme(106, _INSIGHTFACE106),
    "mediapipe478": Scheme(478, _MEDIAPIPE478, _FOREHEAD478),
}


@dataclass(frozen=True, eq=False)
class FaceMarks:
    """The landmarks of one face, in pixels (x, y).

    Attributes:
        points: float64 (68, 2), iBUG 300-W order; left and right are the subject's, so 36-41, on the
            image's left, are the right eye.
        forehead: float64 (n, 2), from image left to image right; n is 0 where the scheme has none.
    """

    points: Points
    forehead: Points

    def outline(self) -> Points:
        """All points, (68 + n, 2): their convex hull is the face's."""
        return np.concatenate([self.points, self.forehead])


def face_marks(points: ArrayLike, scheme: str) -> FaceMarks:
    """Project the landmarks of any scheme onto the 68 points and the forehead.

    Args:
        points: (count, 2) x and y in pixels.
        scheme: a key of `SCHEMES`.

    Raises:
        DataError: `unknown_landmarks`: the scheme is unknown or has another number of points;
            `degenerate_hull`: a coordinate is not finite.
    """
    if scheme not in SCHEMES:
        raise DataError("unknown_landmarks", f"'{scheme}' is not one of {', '.join(SCHEMES)}")
    known, given = SCHEMES[scheme], np.asarray(points, dtype=np.float64)
    if given.shape != (known.count, 2):
        raise DataError("unknown_landmarks", f"{scheme} has shape ({known.count}, 2), not {given.shape}")
    if not np.isfinite(given).all():
        raise DataError("degenerate_hull", "a landmark is not finite")
    return FaceMarks(given[list(known.indices)], given[list(known.forehead)])


def crop_marks(row: Mapping[str, Any]) -> FaceMarks:
    """The landmarks of a manifest row in pixels of its crop.

    Raises:
        DataError: `no_landmarks`, or those of `face_marks`.
    """
    if not row["landmarks"] or not row["landmark_scheme"]:
        raise DataError("no_landmarks", "its detector gives five points only, or found no face")
    points = np.reshape(row["landmarks"], (-1, 2))
    return face_marks(to_crop(points, np.reshape(row["crop_matrix"], (2, 3))), row["landmark_scheme"])


def to_crop(points: ArrayLike, matrix: ArrayLike) -> Points:
    """Map (n, 2) source-frame pixels to crop pixels by the (2, 3) `crop_matrix` of a row."""
    affine = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ affine[:, :2].T + affine[:, 2]


def mirrored(marks: FaceMarks, width: int) -> FaceMarks:
    """The landmarks of the horizontally flipped image, for an image `width` pixels wide.

    x becomes width - 1 - x, so that a point stays on its pixel, and counterparts on the left and the
    right change places. The forehead points are put in reverse order: image left comes first again.
    """
    return FaceMarks(_flipped(marks.points[list(MIRROR)], width), _flipped(marks.forehead[::-1], width))


def _flipped(points: Points, width: int) -> Points:
    return np.column_stack([width - 1 - points[:, 0], points[:, 1]])
