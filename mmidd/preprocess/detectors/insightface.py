"""SCRFD (Guo et al. 2022) and 106 landmarks through onnxruntime, from an InsightFace model pack.

The network's outputs are decoded here: the `insightface` package asks for `opencv-python`, which
overwrites the headless OpenCV and needs the system's libGL.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmidd.errors import MissingExtra, UsageError
from mmidd.models import KNOWN, find_model
from mmidd.preprocess.detectors.base import Face, Floats, Pixels
from mmidd.preprocess.detectors.dense import Candidates, cells, channels_first, search

SURE = 0.5
"""Score from which a candidate is a face."""

STRIDES = (8, 16, 32)
MEAN, SCALE = 127.5, 128.0
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
LANDMARK_REGION = 1.5
"""Side of the square given to the landmark network over the longer side of the box."""

LANDMARKS = 106
SCHEME = "insightface106"


class InsightFace:
    """SCRFD with the pack `insightface` of the registry; 106 landmarks if `2d106det.onnx` is in it.

    Attributes:
        provider: the execution provider that onnxruntime really uses, such as `CPU`.

    Raises:
        MissingExtra: onnxruntime is not installed.
        UsageError: the pack is missing, or its detector has another layout.
    """

    name = "insightface"

    def __init__(self) -> None:
        model = find_model(self.name)
        detector, landmarks = (model.path(pattern) for pattern in KNOWN[self.name].files)
        assert detector is not None
        self._detector = open_session(detector)
        _check_layout(self._detector, detector)
        self._landmarks = None if landmarks is None else open_session(landmarks)
        self.provider = self._detector.get_providers()[0].removesuffix("ExecutionProvider")
        self.version = f"onnxruntime-{_onnxruntime().__version__}-{self.provider}+{model.digest}"

    def detect(self, image: Pixels, previous: Sequence[Face] = ()) -> list[Face]:
        """All faces found, largest first; `previous` is not needed."""
        faces = search(image, self._run)
        return self._with_landmarks(image, faces) if faces and self._landmarks is not None else faces

    def _run(self, image: Pixels) -> Candidates:
        wanted = self._detector.get_inputs()[0]
        fixed = [n for n in wanted.shape[2:] if isinstance(n, int)]
        seen = _inside(image, *fixed) if len(fixed) == 2 else image
        blob = channels_first((seen - np.float32(MEAN)) / np.float32(SCALE))
        boxes, scores, points = decode(self._detector.run(None, {wanted.name: blob}), *seen.shape[:2])
        back = np.float32(max(1.0, image.shape[0] / seen.shape[0], image.shape[1] / seen.shape[1]))
        return boxes * back, scores, points * back

    def _with_landmarks(self, image: Pixels, faces: list[Face]) -> list[Face]:
        """The faces with their landmarks, all in one batch."""
        assert self._landmarks is not None
        wanted = self._landmarks.get_inputs()[0]
        side = int(wanted.shape[2])
        matrices = [_region(face.box, side) for face in faces]
        crops = [cv2.warpAffine(image, matrix, (side, side)) for matrix in matrices]
        batch = np.stack(crops).astype(np.float32).transpose(0, 3, 1, 2)
        (out,) = self._landmarks.run(None, {wanted.name: np.ascontiguousarray(batch)})
        points = (np.asarray(out, np.float32).reshape(len(faces), -1, 2)[:, -LANDMARKS:] + 1) * (side / 2)
        return [
            dataclasses.replace(face, landmarks=_back(marks, matrix), scheme=SCHEME)
            for face, marks, matrix in zip(faces, points, matrices, strict=True)
        ]


def decode(outputs: Sequence[Any], height: int, width: int) -> Candidates:
    """Candidates from the nine outputs: scores, box distances and points, each for strides 8, 16 and 32.

    Args:
        outputs: (n, 1), (n, 4) and (n, 10) per stride, with or without a batch axis of one.
        height: of the network's input.
        width: of the network's input.
    """
    found = []
    for level, stride in enumerate(STRIDES):
        scores, distances, points = (
            np.asarray(outputs[level + 3 * kind], np.float32).reshape(-1, size)
            for kind, size in enumerate((1, 4, 10))
        )
        corners = cells(height, width, stride) * stride
        centres = np.repeat(corners, len(scores) // len(corners), axis=0)
        sure = scores[:, 0] >= SURE
        at, reach = centres[sure], distances[sure] * stride
        boxes = np.concatenate([at - reach[:, :2], at + reach[:, 2:]], axis=1)
        marks = at[:, None] + points[sure].reshape(-1, 5, 2) * stride
        found.append((boxes, scores[sure, 0], marks))
    boxes, sures, marks = (np.concatenate(part) for part in zip(*found, strict=True))
    return boxes, sures, marks


def open_session(path: Path) -> Any:
    """An onnxruntime session in one thread, on the first provider of `PROVIDERS` that there is.

    Raises:
        MissingExtra: onnxruntime is not installed.
        UsageError: the file is not a usable ONNX model.
    """
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    available = [name for name in PROVIDERS if name in runtime.get_available_providers()]
    try:
        return runtime.InferenceSession(str(path), options, providers=available)
    except Exception as error:  # onnxruntime raises classes of its own that share only this base
        raise UsageError(
            f"onnxruntime cannot read {path}; run `mmidd models fetch {InsightFace.name}`"
        ) from error


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(
            "the detector 'insightface' needs onnxruntime; run `pip install 'mmidd[insightface]'`"
        ) from error
    return onnxruntime


def _check_layout(session: Any, path: Path) -> None:
    widths = [output.shape[-1] for output in session.get_outputs()]
    if widths != [1] * 3 + [4] * 3 + [10] * 3:
        raise UsageError(
            f"{path} is not an SCRFD with five points (its outputs are {widths} wide); "
            f"run `mmidd models fetch {InsightFace.name}`"
        )


def _inside(image: Pixels, height: int, width: int) -> Pixels:
    """The image shrunk and padded to the one size that a fixed network takes."""
    shrink = max(1.0, image.shape[0] / height, image.shape[1] / width)
    size = (max(int(image.shape[1] / shrink), 1), max(int(image.shape[0] / shrink), 1))
    scaled = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.pad(scaled, ((0, height - size[1]), (0, width - size[0]), (0, 0)))


def _region(box: Floats, side: int) -> Floats:
    """Matrix that carries the surroundings of a box into a square of that side."""
    scale = side / (max(float(np.max(box[2:] - box[:2])), 1.0) * LANDMARK_REGION)
    move = side / 2 - (box[:2] + box[2:]) / 2 * scale
    return np.array([[scale, 0, move[0]], [0, scale, move[1]]], np.float32)


def _back(points: Floats, matrix: Floats) -> Floats:
    return np.asarray((points - matrix[:, 2]) / matrix[0, 0], np.float32)
