"""YuNet and RetinaFace, and what all whole-image detectors share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmidd.errors import UsageError
from mmidd.files import sha256_of
from mmidd.models import add_model
from mmidd.preprocess.detectors import retinaface, yunet
from mmidd.preprocess.detectors.base import Face, Pixels, box_iou, make_detector
from mmidd.preprocess.detectors.dense import Candidates, distinct, search
from mmidd.preprocess.detectors.retinaface import VARIANTS, Network, decode, load_network, prior_boxes
from tests.preprocess.detector_models import shared
from tests.preprocess.preprocess_media import portrait, scene

FILES = {"yunet": "yunet_n_640_640.onnx", "retinaface": "mobilenet0.25_Final.pth"}
READ_OFF = [[203, 101], [247, 103], [225, 128], [205, 141], [243, 142]]


@pytest.fixture(autouse=True)
def _registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMIDD_MODELS", str(tmp_path / "models"))


@pytest.mark.parametrize("name", FILES)
def test_real_weights_find_the_face_and_its_points(name: str) -> None:
    path = shared(FILES[name])
    add_model(name, path)
    detector = make_detector(name)
    assert detector.version.endswith(f"+{sha256_of(path)[:12]}")
    (face,) = detector.detect(portrait())
    by_dlib = make_detector("dlib").detect(portrait())[0]
    assert box_iou(face.box, by_dlib.box) > 0.55
    assert face.landmarks5 is not None
    assert np.abs(face.landmarks5 - np.array(READ_OFF)).max() < 6


@pytest.mark.parametrize("name", FILES)
def test_real_weights_find_small_large_several_and_no_faces(name: str) -> None:
    add_model(name, shared(FILES[name]))
    detector = make_detector(name)
    near, large = scene((330, 10), 1.6)
    both, small = scene((30, 100), 0.5, near)
    faces = detector.detect(both)
    assert [box_iou(faces[0].box, large) > 0.5, box_iou(faces[1].box, small) > 0.5] == [True, True]
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    frame[500:860, 700:1340] = scene((200, 100), 0.5)[0]
    assert len(detector.detect(frame)) == 1
    for shape in ((1, 1), (3, 400), (79, 79), (200, 300)):
        assert detector.detect(np.full((*shape, 3), 128, np.uint8)) == []
    again = detector.detect(both, [Face(np.zeros(4, np.float32), 0.0)])
    assert [face.box.tolist() for face in again] == [face.box.tolist() for face in faces]


class Bright:
    """A network that sees one face: the bright pixels."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, image: Pixels) -> Candidates:
        self.seen.append(image.shape)
        rows, columns = np.nonzero(image[:, :, 0] > 200)
        if len(rows) == 0 or min(np.ptp(rows), np.ptp(columns)) < 15:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        return box, np.ones(1, np.float32), np.tile(box[:, None, :2], (1, 5, 1))


def test_search_gives_pixels_of_the_image_and_pads_to_the_stride() -> None:
    image = np.zeros((700, 1400, 3), np.uint8)
    image[140:280, 700:910] = 255
    run = Bright()
    (face,) = search(image, run)
    assert run.seen == [(320, 640, 3)]
    assert np.abs(face.box - np.array([700, 140, 910, 280])).max() < 4
    assert face.landmarks5 is not None
    assert np.abs(face.landmarks5[0] - np.array([700, 140])).max() < 4
    assert search(np.zeros((33, 50, 3), np.uint8), run) == []
    assert run.seen[1:] == [(64, 64, 3)]


def test_search_looks_closer_only_where_nothing_was_found() -> None:
    image = np.zeros((1080, 1920, 3), np.uint8)
    image[200:230, 300:330] = 255
    run = Bright()
    (face,) = search(image, run)
    assert [shape[1] for shape in run.seen] == [640, 320, 1280]
    assert np.abs(face.box - np.array([300, 200, 330, 230])).max() < 4


def test_of_overlapping_boxes_the_surest_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]], np.float32)
    assert distinct(boxes, np.array([0.6, 0.9, 0.7], np.float32)) == [1, 2]
    assert distinct(boxes[:0], np.zeros(0, np.float32)) == []


def test_yunet_rows_become_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = np.array([[100, 50, 40, 60, *range(10), 0.9]], np.float32)
    seen: list[tuple[object, ...]] = []

    def run(image: Pixels) -> tuple[int, Pixels]:
        seen.append((image.shape, image[0, 0].tolist()))
        return 1, row  # type: ignore[return-value]

    network = SimpleNamespace(setInputSize=seen.append, detect=run)
    stub = SimpleNamespace(
        FaceDetectorYN=SimpleNamespace(create=lambda *_: network),
        __version__="0",
        error=cv2.error,
        utils=cv2.utils,
    )
    (tmp_path / "y.onnx").write_bytes(b"y")
    add_model("yunet", tmp_path / "y.onnx")
    monkeypatch.setattr(yunet, "cv2", stub)
    image = np.zeros((320, 640, 3), np.uint8)
    image[0, 0] = (1, 2, 3)
    (face,) = make_detector("yunet").detect(image)
    assert seen == [(640, 320), ((320, 640, 3), [3, 2, 1])]
    assert face.box.tolist() == [100, 50, 140, 110]
    assert face.score == pytest.approx(0.9)
    assert face.landmarks5 is not None
    assert face.landmarks5.tolist() == np.arange(10).reshape(5, 2).tolist()


def test_opencv_cannot_read_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "y.onnx").write_bytes(b"no network")
    add_model("yunet", tmp_path / "y.onnx")
    with pytest.raises(UsageError, match=r"cannot read .*mmidd models fetch yunet"):
        make_detector("yunet")
    assert capfd.readouterr().err == ""


def test_prior_boxes_lie_on_the_cells_of_every_stride() -> None:
    priors = prior_boxes(64, 96, ((10, 20), (32, 64), (128, 256)))
    assert len(priors) == 2 * (8 * 12 + 4 * 6 + 2 * 3)
    assert priors[:3].tolist() == [[4, 4, 10], [4, 4, 20], [12, 4, 10]]
    assert priors[-1].tolist() == [80, 48, 256]


def test_decoding_undoes_the_published_encoding() -> None:
    priors = np.array([[100, 60, 32], [20, 30, 64]], np.float32)
    boxes = np.array([[80, 40, 130, 90], [0, 10, 30, 60]], np.float32)
    points = np.arange(20, dtype=np.float32).reshape(2, 5, 2)
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    offset = (middle - priors[:, :2]) / priors[:, 2:] / 0.1
    encoded = np.concatenate([offset, np.log(size / priors[:, 2:]) / 0.2], axis=1)
    marks = (points - priors[:, None, :2]) / priors[:, None, 2:] / 0.1
    found, five = decode(encoded, marks.reshape(2, 10), priors)
    assert np.allclose(found, boxes, atol=1e-3)
    assert np.allclose(five, points, atol=1e-3)


def random_weights(path: Path, prefix: str = "") -> Path:
    torch.manual_seed(0)
    torch.save({prefix + key: value for key, value in Network(0.1).state_dict().items()}, path)
    return path


def test_the_network_gives_one_row_per_prior_box(tmp_path: Path) -> None:
    network = load_network(random_weights(tmp_path / "r.pth", "module."), 0.1)
    with torch.inference_mode():
        scores, boxes, points = network(torch.zeros(2, 3, 64, 96))
    count = len(prior_boxes(64, 96, VARIANTS[next(iter(VARIANTS))].sides))
    assert [tuple(t.shape) for t in (scores, boxes, points)] == [(2, count), (2, count, 4), (2, count, 10)]
    assert 0 < float(scores.min()) < float(scores.max()) < 1


def test_the_slope_of_the_weights_matters(tmp_path: Path) -> None:
    path = random_weights(tmp_path / "r.pth")
    with torch.inference_mode():
        outputs = [load_network(path, slope)(torch.ones(1, 3, 32, 32))[1] for slope in (0.0, 0.1)]
    assert not torch.allclose(*outputs)


@pytest.mark.parametrize("harm", ["missing", "extra", "garbage"])
def test_weights_load_completely_or_not_at_all(tmp_path: Path, harm: str) -> None:
    path = random_weights(tmp_path / "r.pth")
    state = torch.load(path, weights_only=True)
    if harm == "missing":
        state.pop("ssh3.conv7x7_3.0.weight")
    state["more.weight"] = torch.zeros(1) if harm == "extra" else state["fpn.merge1.0.weight"]
    if harm != "extra":
        state.pop("more.weight")
    torch.save(state, path)
    if harm == "garbage":
        path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="mmidd models fetch retinaface"):
        load_network(path, 0.0)


def test_weights_with_unknown_prior_boxes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = random_weights(tmp_path / "r.pth")
    add_model("retinaface", path)
    with pytest.raises(UsageError, match=r"prior boxes .* are not known.*ed6fa7d45a51"):
        make_detector("retinaface")
    monkeypatch.setitem(retinaface.VARIANTS, sha256_of(path), next(iter(VARIANTS.values())))
    faces = make_detector("retinaface").detect(portrait())
    assert faces == sorted(faces, key=lambda face: -face.area)
