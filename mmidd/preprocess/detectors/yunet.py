"""YuNet through OpenCV's own `FaceDetectorYN`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np

from mmidd.errors import UsageError
from mmidd.models import find_model
from mmidd.preprocess.detectors.base import Face, Pixels
from mmidd.preprocess.detectors.dense import SAME_FACE, Candidates, search

SURE = 0.6
"""Score from which a candidate is a face."""

CANDIDATES = 5000
"""Candidates kept before doubles are removed."""


class YuNet:
    """YuNet with the weights `yunet` of the registry; five points, no further landmarks.

    Raises:
        UsageError: the weights are missing or OpenCV cannot read them.
    """

    name = "yunet"

    def __init__(self) -> None:
        model = find_model(self.name)
        self.version = f"opencv-{cv2.__version__}+{model.digest}"
        path = model.path()
        try:
            with _quiet():
                self._network = cv2.FaceDetectorYN.create(
                    str(path), "", (320, 320), SURE, SAME_FACE, CANDIDATES
                )
        except cv2.error as error:
            raise UsageError(
                f"OpenCV {cv2.__version__} cannot read {path}; run `mmidd models fetch {self.name}`"
            ) from error

    def detect(self, image: Pixels, previous: Sequence[Face] = ()) -> list[Face]:
        """All faces found, largest first; `previous` is not needed."""
        return search(image, self._run)

    def _run(self, image: Pixels) -> Candidates:
        self._network.setInputSize((image.shape[1], image.shape[0]))
        _, rows = self._network.detect(np.ascontiguousarray(image[:, :, ::-1]))
        found = np.zeros((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)
        boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
        return boxes, found[:, 14], found[:, 4:14].reshape(-1, 5, 2)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without OpenCV's log: OpenCV 5 warns of targets that nobody chose, in every process."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
