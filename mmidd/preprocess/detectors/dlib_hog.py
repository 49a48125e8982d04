"""dlib's HOG face detector and 68 landmarks, searched coarse to fine.

The detector's window is 80 pixels, so its cost is set by the smallest face looked for. The
common practice doubles every frame and pays for 40-pixel faces everywhere. Here the places
of known faces are looked at first, at a scale that makes each face about 110 pixels; a
scaled-down frame shows large newcomers; and only while no sure face is known, the full
frame and then the doubled frame are searched, which is the common practice itself. Every
face found is looked at again at the same scale, so that a box does not depend on how the
face was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import dlib
import face_recognition_models
import numpy as np

from mmidd.preprocess.detectors.base import Face, Floats, Pixels, box_iou

COARSE_SIDE = 480
"""Longer side of the scaled-down frame: shows faces over a sixth of the longer side."""

LARGEST_SIDE = 3840
"""No frame is searched at a longer side, which bounds time and memory: 4K is not doubled."""

FACE_SIDE = 110
"""Face size in the region searched around a known place."""

REGIONS = (2.4, 6.0)
"""Sides of that region over the side of the face: the wide one for a face that moved far."""

SURE = 0.5
"""Score from which a new face ends the search; background found by chance stays below."""

SURE_AGAIN = 0.2
"""Score from which a face found again near its known place ends the search."""

SAME_FACE = 0.4
"""Overlap (IoU) from which two boxes are one face."""


class DlibHog:
    """HOG frontal detector with the 68-point landmark model of `face_recognition_models`.

    Landmarks follow the iBUG 300-W scheme (`dlib68`), points 0-67.
    """

    name = "dlib"
    version: str = dlib.__version__

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())

    def detect(self, image: Pixels, previous: Sequence[Face] = ()) -> list[Face]:
        """All faces found, largest first, without doubles.

        Args:
            image: uint8 (H, W, 3) RGB.
            previous: faces of the frame before, or expected places: searched first.
        """
        image = np.ascontiguousarray(image)
        found = [face for known in previous for face in self._follow(image, known.box)]
        sure = any(face.score >= SURE_AGAIN for face in found)
        for step, (scale, upsample) in enumerate(_levels(max(image.shape[:2]))):
            if step > 0 and (sure or any(face.score >= SURE for face in found)):
                break
            for face in self._run(image, scale, upsample):
                if not _known(face, found):
                    found += [*self._look(image, face.box, REGIONS[0]), face]
        faces = sorted(_distinct(found), key=lambda face: (-face.area, *face.box.tolist()))
        return [self._with_landmarks(image, face) for face in faces]

    def _follow(self, image: Pixels, box: Floats) -> list[Face]:
        """Faces near a known place, looked for in a wider region where the narrow one has none."""
        return next((faces for region in REGIONS if (faces := self._look(image, box, region))), [])

    def _look(self, image: Pixels, box: Floats, region: float) -> list[Face]:
        """Faces in the region around a box, scaled so that the box is `FACE_SIDE` pixels."""
        side = max(float(np.max(box[2:] - box[:2])), 1.0)
        middle, half = (box[:2] + box[2:]) / 2, side * region / 2
        x0, y0 = np.maximum(np.floor(middle - half), 0).astype(int)
        x1, y1 = np.maximum(np.ceil(middle + half), 0).astype(int)
        window = image[y0:y1, x0:x1]
        if window.size == 0:
            return []
        offset = np.array([x0, y0, x0, y0], dtype=np.float32)
        faces = self._run(window, FACE_SIDE / side)
        return [Face(face.box + offset, face.score) for face in faces]

    def _run(self, image: Pixels, scale: float, upsample: int = 0) -> list[Face]:
        """Run the sliding window on a scaled copy; boxes are in pixels of `image`."""
        height, width = image.shape[:2]
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        scaled = image if scale == 1 else cv2.resize(image, size, interpolation=_interpolation(scale))
        rectangles, scores, _ = self._detector.run(np.ascontiguousarray(scaled), upsample, 0.0)
        back = np.array([width / size[0], height / size[1]] * 2, dtype=np.float32)
        return [
            Face(np.array([r.left(), r.top(), r.right() + 1, r.bottom() + 1], dtype=np.float32) * back, score)
            for r, score in zip(rectangles, scores, strict=True)
        ]

    def _with_landmarks(self, image: Pixels, face: Face) -> Face:
        """The face with its landmarks, fitted in the full-resolution image."""
        x0, y0, x1, y1 = (round(float(edge)) for edge in face.box)
        shape = self._predictor(image, dlib.rectangle(x0, y0, x1 - 1, y1 - 1))
        landmarks = np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)
        return Face(face.box, face.score, landmarks, "dlib68", five_points(landmarks))


def five_points(landmarks: Floats) -> Floats:
    """Eye centres, nose tip and mouth corners, float32 (5, 2), from the 68 points."""
    eyes = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def _levels(side: int) -> Iterator[tuple[float, int]]:
    """Scale and number of doublings of each search, from cheap to exhaustive."""
    if side > COARSE_SIDE:
        yield COARSE_SIDE / side, 0
    yield min(1.0, LARGEST_SIDE / side), 0
    if 2 * side <= LARGEST_SIDE:
        yield 1.0, 1


def _interpolation(scale: float) -> int:
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


def _known(face: Face, others: Sequence[Face]) -> bool:
    return any(box_iou(face.box, other.box) >= SAME_FACE for other in others)


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """The faces without those that overlap an earlier one."""
    kept: list[Face] = []
    for face in faces:
        if not _known(face, kept):
            kept.append(face)
    return kept
