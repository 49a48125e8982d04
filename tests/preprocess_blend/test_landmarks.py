"""Landmarks of every scheme on the 68 points, and their mirror image."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.errors import DataError
from mmidd.preprocess.blend.landmarks import MIRROR, SCHEMES, FaceMarks, Points, face_marks, mirrored
from mmidd.preprocess.detectors.base import Pixels, make_detector

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
PORTRAITS = DATA / "portraits/congress118"
MODEL = DATA / "weights/face_landmarker_v2_with_blendshapes.task"

PARTS = {
    "jaw": (slice(0, 17), 0.09),
    "brows": (slice(17, 27), 0.07),
    "nose": (slice(27, 36), 0.04),
    "eyes": (slice(36, 48), 0.03),
    "mouth": (slice(48, 68), 0.04),
}
"""The largest median distance to dlib's points, over the distance of the outer eye corners."""

# fmt: off
CANONICAL = (
    (127, 356, 7.74, 2.36), (234, 454, 7.66, 0.67), (93, 323, 7.54, -1.05), (132, 361, 7.27, -2.89),
    (172, 397, 5.94, -6.22), (136, 365, 5.09, -7.18), (149, 378, 3.21, -8.53), (176, 400, 2.31, -8.97),
    (152, 152, 0.00, -9.40), (70, 300, 5.72, 4.25), (63, 293, 4.99, 4.80), (105, 334, 3.99, 5.11),
    (66, 296, 2.76, 5.10), (107, 336, 1.40, 5.01), (168, 168, 0.00, 3.27), (197, 197, 0.00, 1.73),
    (5, 5, 0.00, 0.37), (4, 4, 0.00, -0.46), (75, 305, 1.04, -1.46), (97, 326, 0.60, -2.01),
    (2, 2, 0.00, -2.09), (33, 263, 4.45, 2.66), (160, 387, 3.67, 2.93), (158, 385, 2.72, 2.96),
    (133, 362, 1.86, 2.59), (153, 380, 2.72, 2.32), (144, 373, 3.67, 2.36), (61, 291, 2.46, -4.34),
    (39, 269, 1.43, -3.50), (37, 267, 0.71, -3.33), (0, 0, 0.00, -3.41), (17, 17, 0.00, -5.37),
    (84, 314, 0.70, -5.29), (91, 321, 1.84, -4.83), (78, 308, 2.15, -4.28), (82, 312, 0.53, -3.99),
    (13, 13, 0.00, -3.99), (14, 14, 0.00, -4.54), (87, 317, 0.58, -4.52), (162, 389, 7.56, 4.11),
    (21, 251, 7.09, 5.43), (54, 284, 6.28, 6.62), (103, 332, 5.13, 7.49), (67, 297, 3.52, 8.01),
    (109, 338, 1.89, 8.24), (10, 10, 0.00, 8.26),
)
"""Mirror pairs of vertices, |x| and y (upwards) in cm, from MediaPipe's canonical face model
(mediapipe/modules/face_geometry/data/canonical_face_model.obj); the first is on the image's left."""
# fmt: on


def canonical() -> FaceMarks:
    """MediaPipe's canonical face; vertices that are not in the table lie far off."""
    points = np.full((478, 2), -1000.0)
    for left, right, x, y in CANONICAL:
        points[left], points[right] = (-x, -y), (x, -y)
    return face_marks(points, "mediapipe478")


def facepp_names() -> list[str]:
    """The 106 landmarks of Face++, in the documented fields' alphabetical order."""
    eye = "bottom center left_corner lower_left_quarter lower_right_quarter pupil right_corner top"
    eyes = [*eye.split(), "upper_left_quarter", "upper_right_quarter"]
    brow = [
        f"{lid}_{place}"
        for lid in ("upper", "lower")
        for place in ("left_quarter", "middle", "right_quarter")
    ]
    left_brow = [*brow, "left_corner", "upper_right_corner", "lower_right_corner"]
    right_brow = [*brow, "right_corner", "upper_left_corner", "lower_left_corner"]
    sides = ("left", "right")
    return sorted(
        ["contour_chin", *(f"contour_{side}{n}" for side in sides for n in range(1, 17))]
        + [f"{side}_eye_{place}" for side in sides for place in eyes]
        + [f"left_eyebrow_{place}" for place in left_brow]
        + [f"right_eyebrow_{place}" for place in right_brow]
        + ["nose_tip", "nose_middle_contour", *(f"nose_bridge{n}" for n in range(1, 4))]
        + [f"nose_{side}_contour{n}" for side in sides for n in range(1, 6)]
        + ["mouth_left_corner", "mouth_right_corner"]
        + [f"mouth_{lip}_lip_{place}" for lip in ("upper", "lower") for place in ("top", "bottom")]
        + [f"mouth_upper_lip_{side}_contour{n}" for side in sides for n in range(1, 5)]
        + [f"mouth_lower_lip_{side}_contour{n}" for side in sides for n in range(1, 4)]
    )


def named_106(prefix: str, places: str) -> list[str]:
    return [prefix + place for place in places.split()]


def expected_106() -> list[str]:
    """The 68 points by their Face++ names, whose left is the image's."""
    odd = range(1, 16, 2)
    jaw = [f"contour_left{n}" for n in odd] + ["contour_chin"] + [f"contour_right{n}" for n in reversed(odd)]
    brow = "upper_left_quarter upper_middle upper_right_quarter"
    upper_lid = "left_corner upper_left_quarter upper_right_quarter"
    eye = f"{upper_lid} right_corner lower_right_quarter lower_left_quarter"
    return [
        *jaw,
        *named_106("left_eyebrow_", f"left_corner {brow} upper_right_corner"),
        *named_106("right_eyebrow_", f"upper_left_corner {brow} right_corner"),
        *named_106("nose_", "bridge1 bridge2 bridge3 tip left_contour4 left_contour5 middle_contour"),
        *named_106("nose_", "right_contour5 right_contour4"),
        *named_106("left_eye_", eye),
        *named_106("right_eye_", eye),
        "mouth_left_corner",
        *named_106("mouth_upper_lip_", "left_contour2 left_contour1 top right_contour1 right_contour2"),
        "mouth_right_corner",
        *named_106("mouth_lower_lip_", "right_contour2 right_contour3 bottom left_contour3 left_contour2"),
        *named_106("mouth_upper_lip_", "left_contour3 left_contour4 bottom right_contour4 right_contour3"),
        *named_106("mouth_lower_lip_", "right_contour1 top left_contour1"),
    ]


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_names_68_distinct_points(name: str) -> None:
    scheme = SCHEMES[name]
    used = scheme.indices + scheme.forehead
    assert len(scheme.indices) == 68
    assert len(set(used)) == len(used)
    assert 0 <= min(used) <= max(used) < scheme.count


@pytest.mark.parametrize("name", SCHEMES)
def test_every_mark_is_the_schemes_own_point(name: str) -> None:
    scheme = SCHEMES[name]
    points = np.arange(2.0 * scheme.count).reshape(-1, 2)
    marks = face_marks(points.tolist(), name)
    assert marks.points.dtype == np.float64
    assert marks.points.tolist() == [[2 * i, 2 * i + 1] for i in scheme.indices]
    assert marks.forehead.shape == (len(scheme.forehead), 2)
    assert marks.outline().tolist() == marks.points.tolist() + [[2 * i, 2 * i + 1] for i in scheme.forehead]


def test_the_marks_do_not_share_the_callers_memory() -> None:
    points = np.ones((68, 2))
    marks = face_marks(points, "dlib68")
    points[:] = 7
    assert (marks.points == 1).all()


@pytest.mark.parametrize(
    ("points", "scheme", "reason"),
    [
        (np.zeros((68, 2)), "dlib5", "unknown_landmarks"),
        (np.zeros((81, 2)), "dlib68", "unknown_landmarks"),
        (np.zeros((478, 3)), "mediapipe478", "unknown_landmarks"),
        (np.full((68, 2), np.nan), "dlib68", "degenerate_hull"),
        (np.full((81, 2), np.inf), "dlib81", "degenerate_hull"),
    ],
)
def test_landmarks_that_cannot_be_read_are_refused(points: Points, scheme: str, reason: str) -> None:
    with pytest.raises(DataError) as refused:
        face_marks(points, scheme)
    assert refused.value.reason == reason


def test_one_coordinate_that_is_not_finite_is_enough() -> None:
    points = np.zeros((106, 2))
    points[33, 1] = np.inf  # a point that none of the 68 uses
    with pytest.raises(DataError, match="degenerate_hull"):
        face_marks(points, "insightface106")


def test_mediapipe_jaw_and_forehead_run_round_the_face() -> None:
    face = canonical()
    jaw, forehead = face.points[:17], face.forehead
    assert (np.diff(jaw[:, 0]) > 0).all()
    assert (np.diff(jaw[:9, 1]) > 0).all()
    assert (np.diff(forehead[:, 0]) > 0).all()
    assert (np.diff(forehead[:7, 1]) < 0).all()
    assert forehead[:, 1].max() < jaw[:, 1].min()
    assert forehead[2:-2, 1].max() < face.points[17:27, 1].min()
    rim = np.concatenate([jaw, forehead[::-1]]).astype(np.float32)
    assert all(cv2.pointPolygonTest(rim, point, False) > 0 for point in face.points[17:].tolist())


def test_mediapipe_brows_and_eyes_lie_where_they_are_named() -> None:
    points = canonical().points
    assert (np.diff(points[17:27, 0]) > 0).all()
    for brow, eye in ((points[17:22], points[36:42]), (points[22:27], points[42:48])):
        assert brow[:, 1].max() < eye[:, 1].min()
        assert brow[:, 0].min() < eye[:, 0].min() < eye[:, 0].max() < brow[:, 0].max() + 1
        assert (np.diff(eye[:4, 0]) > 0).all()
        assert eye[1:3, 1].max() < eye[[0, 3], 1].min()
        assert eye[[0, 3], 1].max() < eye[4:, 1].min()
        np.testing.assert_array_equal(eye[4:, 0], eye[2:0:-1, 0])  # lower lid: back from the inner side


def test_mediapipe_nose_and_mouth_lie_where_they_are_named() -> None:
    points = canonical().points
    ridge, base = points[27:31], points[31:36]
    assert (ridge[:, 0] == 0).all()
    assert (np.diff(ridge[:, 1]) > 0).all()
    assert (np.diff(base[:, 0]) > 0).all()
    assert ridge[3, 1] < base[:, 1].min()
    outer, inner = points[48:60], points[60:68]
    assert base[:, 1].max() < outer[:, 1].min()
    for ring, corner in ((outer, 6), (inner, 4)):
        upper, lower = ring[: corner + 1], np.concatenate([ring[corner:], ring[:1]])
        assert (np.diff(upper[:, 0]) > 0).all()
        assert (np.diff(lower[:, 0]) < 0).all()
        assert upper[1:-1, 1].max() < lower[1:-1, 1].min()
    polygon = outer.astype(np.float32)
    assert all(cv2.pointPolygonTest(polygon, point, False) > 0 for point in inner.tolist())


def test_a_symmetric_face_is_its_own_mirror_image() -> None:
    face = canonical()
    flipped = mirrored(face, width=1)
    np.testing.assert_allclose(flipped.points, face.points)
    np.testing.assert_allclose(flipped.forehead, face.forehead)


def test_insightface_points_follow_the_alphabetical_names_of_facepp() -> None:
    names = facepp_names()
    assert len(set(names)) == 106
    assert [names[i] for i in SCHEMES["insightface106"].indices] == expected_106()


def test_insightface_counterparts_have_mirrored_names() -> None:
    names = facepp_names()
    swap = {"left": "right", "right": "left"}
    counterpart = [names.index(re.sub("left|right", lambda side: swap[side[0]], name)) for name in names]
    indices = SCHEMES["insightface106"].indices
    assert [counterpart[i] for i in indices] == [indices[m] for m in MIRROR]


def test_dlib81_forehead_runs_along_the_outline() -> None:
    """The points of codeniko's predictor lie, from image left: sides 77, 75, 76, then the hairline."""
    order = [77, 75, 76, 68, 69, 70, 71, 80, 72, 73, 79, 74, 78]
    points = np.zeros((81, 2))
    points[order, 0] = np.arange(13)
    assert face_marks(points, "dlib81").forehead[:, 0].tolist() == list(range(13))


@st.composite
def pictures(draw: st.DrawFn) -> tuple[FaceMarks, int]:
    """Landmarks on distinct pixels of a picture that is 12 high and `width` wide."""
    width, forehead = draw(st.integers(8, 40)), draw(st.integers(0, 13))
    cells = draw(st.permutations(range(12 * width)).map(lambda order: np.array(order[: 68 + forehead])))
    points = np.column_stack([cells % width, cells // width]).astype(np.float64)
    return FaceMarks(points[:68], points[68:]), width


@given(pictures())
def test_mirrored_is_the_flipped_picture(drawn: tuple[FaceMarks, int]) -> None:
    marks, width = drawn
    picture = np.full((12, width), -1)
    columns, rows = marks.outline().astype(int).T
    picture[rows, columns] = np.arange(len(columns))
    flipped = mirrored(marks, width)
    columns, rows = flipped.outline().astype(int).T
    found = picture[:, ::-1][rows, columns].tolist()
    assert found == [*MIRROR, *range(len(found) - 1, 67, -1)]


@given(pictures())
def test_mirrored_twice_is_the_same(drawn: tuple[FaceMarks, int]) -> None:
    marks, width = drawn
    again = mirrored(mirrored(marks, width), width)
    np.testing.assert_array_equal(again.points, marks.points)
    np.testing.assert_array_equal(again.forehead, marks.forehead)


def read_rgb(path: Path) -> Pixels:
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


@pytest.mark.skipif(
    not PORTRAITS.is_dir() or not MODEL.is_file(), reason="no ../shared/data beside the repository"
)
def test_mediapipe_points_fall_on_dlibs() -> None:
    mediapipe = pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    options = mediapipe.tasks.vision.FaceLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(MODEL))
    )
    distances = []
    with mediapipe.tasks.vision.FaceLandmarker.create_from_options(options) as landmarker:
        for path in sorted(PORTRAITS.glob("*.jpg"))[::27]:
            image = read_rgb(path)
            mesh = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
            mapped = np.array([(p.x, p.y) for p in mesh.face_landmarks[0]]) * image.shape[1::-1]
            truth = make_detector("dlib").detect(image)[0].landmarks
            assert truth is not None
            ocular = np.linalg.norm(truth[36] - truth[45])
            distances.append(
                np.linalg.norm(face_marks(mapped, "mediapipe478").points - truth, axis=1) / ocular
            )
    typical = np.median(distances, axis=0)
    measured = {part: float(np.median(typical[where])) for part, (where, _) in PARTS.items()}
    assert all(measured[part] < bound for part, (_, bound) in PARTS.items()), measured
