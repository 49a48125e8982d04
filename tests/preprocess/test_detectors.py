"""dlib's coarse-to-fine search finds what the exhaustive one finds."""

from __future__ import annotations

import cv2
import dlib
import numpy as np
import pytest
from numpy.typing import NDArray

from mmidd.errors import UsageError
from mmidd.preprocess.detectors.base import Detector, Face, box_iou, make_detector
from mmidd.preprocess.detectors.dlib_hog import five_points
from tests.preprocess.preprocess_media import FACE_BOX, portrait, scene


@pytest.fixture(scope="module")
def detector() -> Detector:
    return make_detector("dlib")


def test_face_and_landmarks_of_a_portrait(detector: Detector) -> None:
    (face,) = detector.detect(portrait())
    assert box_iou(face.box, FACE_BOX) > 0.7
    assert face.landmarks is not None
    assert face.landmarks5 is not None
    assert face.landmarks.shape == (68, 2)
    assert face.scheme == "dlib68"
    left, right, nose, mouth_left, mouth_right = face.landmarks5
    assert left[0] < nose[0] < right[0]
    assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])
    assert mouth_left[0] < mouth_right[0]
    read_off = [[203, 101], [247, 103], [225, 128], [205, 141], [243, 142]]
    assert np.abs(face.landmarks5 - np.array(read_off)).max() < 6


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.8])
def test_small_and_large_faces_are_found(detector: Detector, scale: float) -> None:
    image, box = scene((230, 10), scale)
    (face,) = detector.detect(image)
    assert box_iou(face.box, box) > 0.6


def test_a_known_face_is_followed_and_a_newcomer_seen(detector: Detector) -> None:
    first, _ = scene((30, 40), 0.6)
    known = detector.detect(first)
    moved, small_box = scene((60, 60), 0.6)
    image, large_box = scene((330, 10), 1.6, moved)
    faces = detector.detect(image, known)
    assert [
        box_iou(face.box, box) > 0.6 for face, box in zip(faces, (large_box, small_box), strict=True)
    ] == [
        True,
        True,
    ]


def test_the_box_hardly_depends_on_how_the_face_was_found(detector: Detector) -> None:
    image, box = scene((230, 60))
    (searched,) = detector.detect(image)
    for dx, dy in ((0, 0), (20, -15), (-60, 30), (150, 0)):
        near = Face(box + np.array([dx, dy, dx, dy], np.float32), 1.0)
        (followed,) = detector.detect(image, [near])
        assert box_iou(searched.box, followed.box) > 0.75


def test_a_wrong_expectation_hides_nothing(detector: Detector) -> None:
    image, box = scene((400, 60), 0.5)
    for wrong in ([5, 5, 60, 60], [-500, -500, -400, -400], [9e3, 9e3, 9.1e3, 9.1e3], [7, 7, 7, 7]):
        (face,) = detector.detect(image, [Face(np.array(wrong, np.float32), 1.0)])
        assert box_iou(face.box, box) > 0.6


def disturbed(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A scene with one face of random size, place, turn, blur and noise."""
    image, _ = scene((int(rng.integers(0, 400)), int(rng.integers(0, 150))), float(rng.uniform(0.45, 1.1)))
    turn = cv2.getRotationMatrix2D((320.0, 180.0), float(rng.uniform(-25, 25)), 1.0)
    image = cv2.warpAffine(image, turn, (640, 360), borderValue=(90, 90, 90)).astype(np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.1, 2))).astype(np.uint8)
    return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def test_no_frame_of_the_exhaustive_search_is_missed(detector: Detector) -> None:
    """The common practice, one upsampling on the full frame, is the yardstick."""
    exhaustive = dlib.get_frontal_face_detector()
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(20):
        image = disturbed(rng)
        expected = exhaustive(image, 1)
        faces = detector.detect(image)
        found += len(expected)
        assert bool(faces) or not expected
        for r in expected:
            box = np.array([r.left(), r.top(), r.right() + 1, r.bottom() + 1], np.float32)
            assert max(box_iou(box, face.box) for face in faces) > 0.5
    assert found >= 10


def test_no_face_in_empty_tiny_or_flat_images(detector: Detector) -> None:
    for shape in ((1, 1), (3, 400), (79, 79), (200, 300)):
        assert detector.detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_same_image_same_result(detector: Detector) -> None:
    image, _ = scene((230, 60))
    first, second = detector.detect(image), make_detector("dlib").detect(image)
    assert [face.box.tolist() for face in first] == [face.box.tolist() for face in second]


def test_five_points_from_sixty_eight() -> None:
    points = np.stack([np.arange(68), 100 + np.arange(68)], 1).astype(np.float32)
    assert five_points(points)[:, 0].tolist() == [38.5, 44.5, 30, 48, 54]


def test_precropped_takes_the_whole_image() -> None:
    (face,) = make_detector("precropped").detect(np.zeros((30, 40, 3), np.uint8))
    assert face.box.tolist() == [0, 0, 40, 30]
    assert face.landmarks is None


def test_an_unknown_detector_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"'mtcnn'.*dlib, insightface, precropped"):
        make_detector("mtcnn")
