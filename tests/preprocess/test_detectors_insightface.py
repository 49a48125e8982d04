"""SCRFD and 106 landmarks: decoding on planted outputs, loading on tiny ONNX files of the real layout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmidd.errors import MissingExtra, UsageError
from mmidd.files import sha256_of
from mmidd.models import add_model, models_dir
from mmidd.preprocess.detectors import insightface
from mmidd.preprocess.detectors.base import make_detector
from mmidd.preprocess.detectors.insightface import InsightFace, decode

NAMES = ("448", "471", "494", "451", "474", "497", "454", "477", "500")
"""Output names of det_10g: scores, boxes, points, each for strides 8, 16 and 32."""

CELL = (slice(64, 96), slice(96, 128))
"""A bright cell of stride 32; its corner is (96, 64)."""


@pytest.fixture(autouse=True)
def _registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMIDD_MODELS", str(tmp_path / "models"))


def bright() -> Any:
    image = np.zeros((160, 224, 3), np.uint8)
    image[CELL] = 255
    return image


def planted(height: int, width: int, batched: bool) -> list[Any]:
    """Raw outputs with one face: at stride 16, row 2, column 3, second anchor."""
    outputs: list[Any] = []
    for size in (1, 4, 10):
        for stride in (8, 16, 32):
            cells = (height // stride) * (width // stride)
            outputs.append(np.zeros((cells * 2, size), np.float32))
    row = (2 * (width // 16) + 3) * 2 + 1
    outputs[1][row], outputs[4][row], outputs[7][row] = 0.8, (1, 2, 3, 4), range(10)
    return [output[None] for output in outputs] if batched else outputs


@pytest.mark.parametrize("batched", [False, True])
def test_planted_outputs_are_decoded(batched: bool) -> None:
    boxes, scores, points = decode(planted(96, 160, batched), 96, 160)
    assert boxes.tolist() == [[48 - 16, 32 - 32, 48 + 48, 32 + 64]]
    assert scores.tolist() == pytest.approx([0.8])
    assert points[0, 0].tolist() == [48, 32 + 16]
    assert points[0, 4].tolist() == [48 + 8 * 16, 32 + 9 * 16]


class Port:
    def __init__(self, name: str, shape: Sequence[Any]) -> None:
        self.name, self.shape = name, shape


class FakeDetector:
    """Sees the one bright pixel block as `planted` says, whatever its input size."""

    def __init__(self, side: int | str = "?") -> None:
        self.side = side
        self.seen: list[Any] = []

    def get_inputs(self) -> list[Port]:
        return [Port("input.1", [1, 3, self.side, self.side])]

    def get_outputs(self) -> list[Port]:
        return [Port(name, ["?", size]) for name, size in zip(NAMES, np.repeat([1, 4, 10], 3), strict=True)]

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def run(self, _: None, blobs: dict[str, Any]) -> list[Any]:
        (blob,) = blobs.values()
        self.seen.append(blob)
        height, width = blob.shape[2:]
        return planted(height, width, batched=False)


class FakeLandmarks(FakeDetector):
    """Puts all 106 points in the middle of the crop, but the first at its top left corner."""

    def get_inputs(self) -> list[Port]:
        return [Port("data", ["None", 3, 192, 192])]

    def run(self, _: None, blobs: dict[str, Any]) -> list[Any]:
        (blob,) = blobs.values()
        self.seen.append(blob)
        out = np.zeros((len(blob), 212), np.float32)
        out[:, :2] = -1
        return [out]


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeDetector]:
    """A pack whose files are opened as the fakes."""
    made = {"det_10g.onnx": FakeDetector(), "2d106det.onnx": FakeLandmarks()}
    for name in made:
        (tmp_path / "pack").mkdir(exist_ok=True)
        (tmp_path / "pack" / name).write_bytes(name.encode())
    add_model("insightface", tmp_path / "pack")
    monkeypatch.setattr(insightface, "open_session", lambda path: made[path.name])
    runtime = type("Runtime", (), {"__version__": "9.9"})
    monkeypatch.setattr(insightface, "_onnxruntime", lambda: runtime)
    return made


def test_faces_have_106_landmarks_in_pixels_of_the_image(sessions: dict[str, FakeDetector]) -> None:
    detector = make_detector("insightface")
    assert isinstance(detector, InsightFace)
    assert detector.provider == "CPU"
    folder = models_dir() / "insightface"
    first, second = (sha256_of(folder / name)[:12] for name in sessions)
    assert detector.version == f"onnxruntime-9.9-CPU+{first}+{second}"
    image = np.full((96, 160, 3), 255, np.uint8)
    image[0, 0] = (0, 127, 255)
    (face,) = detector.detect(image)
    assert face.box.tolist() == [32, 0, 96, 96]
    assert face.landmarks is not None
    assert (face.scheme, face.landmarks.shape) == ("insightface106", (106, 2))
    assert face.landmarks[1:].mean(axis=0).tolist() == pytest.approx([64, 48], abs=1e-3)
    assert face.landmarks[0].tolist() == pytest.approx([64 - 72, 48 - 72], abs=1e-3)
    (blob,) = sessions["det_10g.onnx"].seen
    assert blob.shape == (1, 3, 96, 160)
    assert blob[0, :, 0, 0].tolist() == pytest.approx([-127.5 / 128, -0.5 / 128, 127.5 / 128])
    (crops,) = sessions["2d106det.onnx"].seen
    assert crops.shape == (1, 3, 192, 192)
    assert crops.max() == 255


def test_a_network_of_one_input_size_gets_it(sessions: dict[str, FakeDetector]) -> None:
    sessions["det_10g.onnx"].side = 96
    (face,) = make_detector("insightface").detect(np.zeros((96, 160, 3), np.uint8))
    (blob,) = sessions["det_10g.onnx"].seen
    assert blob.shape == (1, 3, 96, 96)
    assert face.box.tolist() == pytest.approx([32 / 0.6, 0, 96 / 0.6, 96 / 0.6])


def test_another_layout_is_refused(
    sessions: dict[str, FakeDetector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeDetector, "get_outputs", lambda _: [Port("a", [1, 512])])
    with pytest.raises(UsageError, match="not an SCRFD with five points"):
        make_detector("insightface")


def test_without_onnxruntime_the_install_line_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "det_10g.onnx").write_bytes(b"x")
    add_model("insightface", tmp_path / "det_10g.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mmidd\[insightface\]'"):
        make_detector("insightface")


def write_detector(path: Path) -> None:
    """det_10g's inputs and outputs; a face of 64 pixels at every bright cell of stride 32."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes, weights = [], []
    for index, name in enumerate(NAMES):
        kind, stride = index // 3, (8, 16, 32)[index % 3]
        size = (1, 4, 10)[kind]
        weight = np.full((2 * size, 3, 1, 1), 0.0 if kind or stride < 32 else 10.0, np.float32)
        bias = np.full(2 * size, (-9.0, 1.0, 0.5)[kind], np.float32)
        weights += [
            numpy_helper.from_array(weight, f"w{name}"),
            numpy_helper.from_array(bias, f"b{name}"),
            numpy_helper.from_array(np.array([-1, size], np.int64), f"s{name}"),
        ]
        nodes += [
            helper.make_node(
                "AveragePool", ["input.1"], [f"p{name}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            ),
            helper.make_node("Conv", [f"p{name}", f"w{name}", f"b{name}"], [f"c{name}"]),
            helper.make_node("Sigmoid" if kind == 0 else "Identity", [f"c{name}"], [f"a{name}"]),
            helper.make_node("Transpose", [f"a{name}"], [f"t{name}"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"t{name}", f"s{name}"], [name]),
        ]
    outputs = [helper.make_tensor_value_info(n, 1, ["?", (1, 4, 10)[i // 3]]) for i, n in enumerate(NAMES)]
    _save(path, nodes, ("input.1", [1, 3, "?", "?"]), outputs, weights)


def write_landmarks(path: Path) -> None:
    """2d106det's input and output; every point in the middle of the crop."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "zero"], ["fc1"]),
    ]
    output = helper.make_tensor_value_info("fc1", 1, ["None", 212])
    weights = [numpy_helper.from_array(np.zeros((3, 212), np.float32), "zero")]
    _save(path, nodes, ("data", ["None", 3, 192, 192]), [output], weights)


def _save(path: Path, nodes: Any, wanted: tuple[str, list[Any]], outputs: Any, weights: Any) -> None:
    import onnx

    given = onnx.helper.make_tensor_value_info(wanted[0], 1, wanted[1])
    graph = onnx.helper.make_graph(nodes, "tiny", [given], outputs, weights)
    opset = [onnx.helper.make_opsetid("", 13)]
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


@pytest.mark.parametrize("with_landmarks", [False, True])
def test_a_pack_of_real_onnx_files(tmp_path: Path, with_landmarks: bool) -> None:
    runtime = pytest.importorskip("onnxruntime")
    (tmp_path / "pack").mkdir()
    write_detector(tmp_path / "pack/det_10g.onnx")
    if with_landmarks:
        write_landmarks(tmp_path / "pack/2d106det.onnx")
    add_model("insightface", tmp_path / "pack")
    detector = make_detector("insightface")
    assert isinstance(detector, InsightFace)
    assert detector.version.startswith(f"onnxruntime-{runtime.__version__}-{detector.provider}+")
    (face,) = detector.detect(bright())
    assert face.box.tolist() == [64, 32, 128, 96]
    assert face.landmarks5 is not None
    assert face.landmarks5.tolist() == [[112, 80]] * 5
    if with_landmarks:
        assert face.landmarks is not None
        assert np.allclose(face.landmarks, [[96, 64]] * 106, atol=1e-3)
    assert detector.detect(np.zeros((50, 70, 3), np.uint8)) == []


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "det_10g.onnx").write_bytes(b"no network")
    add_model("insightface", tmp_path / "det_10g.onnx")
    with pytest.raises(UsageError, match="onnxruntime cannot read"):
        make_detector("insightface")
