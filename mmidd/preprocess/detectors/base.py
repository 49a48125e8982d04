"""The detector interface and the registry of detectors by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmidd.errors import UsageError
from mmidd.models import installed

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Face:
    """One face, in pixels of the image it was found in.

    Attributes:
        box: float32 (4,): x0 y0 x1 y1.
        score: the detector's own score, higher is surer; scales differ between detectors.
        landmarks: float32 (n, 2), None where the detector has none.
        scheme: name of the landmark scheme, such as `dlib68`.
        landmarks5: float32 (5, 2): eye centres (image left first), nose tip, mouth corners.
    """

    box: Floats
    score: float
    landmarks: Floats | None = None
    scheme: str | None = None
    landmarks5: Floats | None = None

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        width, height = self.box[2:] - self.box[:2]
        return float(max(width, 0) * max(height, 0))


class Detector(Protocol):
    """Finds faces; stateless, so the result depends on the arguments alone."""

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def version(self) -> str:
        """Version of the implementation, recorded with every crop."""
        ...

    def detect(self, image: Pixels, previous: Sequence[Face] = ()) -> list[Face]:
        """All faces found, largest first.

        Args:
            image: uint8 (H, W, 3) RGB.
            previous: faces of the frame before, or expected places: searched first.
        """
        ...


def box_iou(a: Floats, b: Floats) -> float:
    """Intersection over union of two boxes x0 y0 x1 y1; 0 where either is empty."""
    corner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.clip(corner, 0, None)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if shared > 0 else 0.0


def choose_detector(asked: str) -> str:
    """The detector to ingest with; `auto` is `insightface` if its model pack is present, else `dlib`.

    Raises:
        UsageError: no detector has that name.
    """
    names = ("auto", *(name for name in _DETECTORS if name != "precropped"))
    if asked not in names:
        raise UsageError(f"--detector: '{asked}' is unknown; choose one of: {', '.join(names)}")
    if asked != "auto":
        return asked
    return "dlib" if installed("insightface") is None else "insightface"


def make_detector(name: str) -> Detector:
    """The detector of that name.

    Raises:
        UsageError: no detector has that name, or its model is missing.
        MissingExtra: its package is missing.
    """
    if name not in _DETECTORS:
        raise UsageError(f"no detector is called '{name}'; choose one of: {', '.join(sorted(_DETECTORS))}")
    return _DETECTORS[name]()


def _dlib() -> Detector:
    from mmidd.preprocess.detectors.dlib_hog import DlibHog

    return DlibHog()


def _precropped() -> Detector:
    from mmidd.preprocess.detectors.precropped import Precropped

    return Precropped()


def _yunet() -> Detector:
    from mmidd.preprocess.detectors.yunet import YuNet

    return YuNet()


def _retinaface() -> Detector:
    from mmidd.preprocess.detectors.retinaface import RetinaFace

    return RetinaFace()


def _insightface() -> Detector:
    from mmidd.preprocess.detectors.insightface import InsightFace

    return InsightFace()


_DETECTORS: dict[str, Callable[[], Detector]] = {
    "dlib": _dlib,
    "precropped": _precropped,
    "yunet": _yunet,
    "retinaface": _retinaface,
    "insightface": _insightface,
}
