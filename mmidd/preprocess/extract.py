"""From one file to its face crops: decode, detect, choose, crop, measure, encode."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.errors import MediaError
from mmidd.preprocess.choose import Role, choose_face, mask_box
from mmidd.preprocess.crop import Matrix, crop_face, encode_image
from mmidd.preprocess.decode import (
    LIMITS,
    Frame,
    Limits,
    VideoPlan,
    decode_still,
    image_format,
    load_image,
    plan_frames_at,
    plan_video,
    read_bytes,
    read_plan,
)
from mmidd.preprocess.detectors.base import Detector, Face, Pixels, make_detector
from mmidd.preprocess.quality import brightness, luma, phash, sharpness
from mmidd.schema import Media
from mmidd.spec import PreprocessSpec


@dataclass(frozen=True)
class Extracted:
    """One sampled frame or still: a crop with its columns of `schema.SAMPLES`, or a `reason`.

    Attributes:
        reason: why there is no crop: `no_face`, `no_face_on_mask` or `not_decoded`; None with a crop.
        detail: more about the reason.
        blob: the encoded crop.
    """

    frame_index: int | None = None
    pts_ms: float | None = None
    reason: str | None = None
    detail: str | None = None
    box: tuple[float, ...] | None = None
    landmarks5: tuple[float, ...] | None = None
    landmarks: tuple[float, ...] | None = None
    landmark_scheme: str | None = None
    det_score: float | None = None
    detector: str | None = None
    face_index: int | None = None
    role: Role | None = None
    spec_id: str | None = None
    crop_matrix: tuple[float, ...] | None = None
    width: int | None = None
    height: int | None = None
    encoding: str | None = None
    phash: str | None = None
    sharpness: float | None = None
    brightness: float | None = None
    blob: bytes | None = dataclasses.field(default=None, repr=False)

    def columns(self) -> dict[str, object]:
        """The face and crop columns of `schema.SAMPLES`."""
        other = {"frame_index", "pts_ms", "reason", "detail", "blob"}
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in other
        }


def extract(
    path: Path,
    media: Media,
    spec: PreprocessSpec,
    mask: Path | None = None,
    limits: Limits = LIMITS,
) -> Iterator[Extracted]:
    """One result per sampled frame of a video, in order, or one for a still.

    Args:
        path: the file.
        media: what the file is; the bytes of a precropped image are passed on untouched.
        spec: detector, frames and crop.
        mask: video or still that is bright where `path` was manipulated.
        limits: what the file may ask for.

    Raises:
        MediaError: the file as a whole gives nothing; a `mask_` reason means the mask.
    """
    if media is Media.PRECROPPED:
        yield pass_through(read_bytes(path), spec, limits)
    elif media is Media.IMAGE:
        yield _still(path, spec, mask, limits)
    else:
        yield from _video(path, spec, mask, limits)


detector_named = cache(make_detector)
"""One detector per process: building one costs as much as twenty frames."""


def _video(path: Path, spec: PreprocessSpec, mask: Path | None, limits: Limits) -> Iterator[Extracted]:
    plan = plan_video(path, spec.frames, limits)
    detector = detector_named(spec.detector)
    known: list[Face] = []
    chosen: Face | None = None
    for (index, frame), area in zip(read_plan(plan, limits), _masks(mask, plan, limits), strict=False):
        if frame is None:
            yield Extracted(index, reason="not_decoded", detail=f"frame {index} of {plan.total}")
            continue
        area = _fitted(area, frame.image)
        faces = detector.detect(frame.image, _expected(known, area))
        known = faces or known
        result = _result(frame, faces, area, chosen, spec, detector)
        chosen = chosen if result.face_index is None else faces[result.face_index]
        yield result


def _still(path: Path, spec: PreprocessSpec, mask: Path | None, limits: Limits) -> Extracted:
    detector = detector_named(spec.detector)
    image = load_image(path, limits)
    area = None
    if mask is not None:
        with _mask_errors():
            area = _fitted(luma(load_image(mask, limits)), image)
    faces = detector.detect(image, _expected([], area))
    return _result(Frame(None, None, image), faces, area, None, spec, detector)


def pass_through(data: bytes, spec: PreprocessSpec, limits: Limits = LIMITS) -> Extracted:
    """The columns of an image file that is a face crop already; its bytes stay as they are.

    Raises:
        MediaError: it cannot be decoded.
    """
    image = decode_still(data, limits)
    detector = detector_named("precropped")
    (face,) = detector.detect(image)
    measured = _measured(image, face, np.eye(2, 3), detector)
    return Extracted(
        **measured, face_index=0, role="whole", spec_id=spec.spec_id, encoding=image_format(data), blob=data
    )


def _result(
    frame: Frame,
    faces: list[Face],
    mask: Pixels | None,
    before: Face | None,
    spec: PreprocessSpec,
    detector: Detector,
) -> Extracted:
    """The crop of the chosen face, or why there is none."""
    if not faces:
        return Extracted(frame.index, frame.pts_ms, reason="no_face")
    choice = choose_face(faces, mask, before)
    if choice is None:
        return Extracted(
            frame.index, frame.pts_ms, reason="no_face_on_mask", detail=f"{len(faces)} elsewhere"
        )
    index, role = choice
    crop, matrix = crop_face(frame.image, faces[index], spec)
    return Extracted(
        frame.index,
        frame.pts_ms,
        **_measured(crop, faces[index], matrix, detector),
        face_index=index,
        role=role,
        spec_id=spec.spec_id,
        encoding=spec.encoding,
        blob=encode_image(crop, spec),
    )


def _measured(crop: Pixels, face: Face, matrix: Matrix, detector: Detector) -> dict[str, Any]:
    """Columns that follow from a crop and its face."""
    return {
        "box": _flat(face.box),
        "landmarks5": _flat(face.landmarks5),
        "landmarks": _flat(face.landmarks),
        "landmark_scheme": face.scheme,
        "det_score": face.score,
        "detector": f"{detector.name}@{detector.version}",
        "crop_matrix": _flat(matrix),
        "width": crop.shape[1],
        "height": crop.shape[0],
        "phash": phash(crop),
        "sharpness": sharpness(crop),
        "brightness": brightness(crop),
    }


def _flat(values: NDArray[Any] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values.ravel().tolist())


def _expected(faces: list[Face], mask: Pixels | None) -> list[Face]:
    """Where to look first: at the faces last seen and at the manipulated region."""
    box = None if mask is None else mask_box(mask)
    return faces if box is None else [*faces, Face(box, score=0.0)]


def _masks(path: Path | None, plan: VideoPlan, limits: Limits) -> Iterator[Pixels | None]:
    """The mask of every planned frame; None where there is none."""
    if path is None:
        yield from repeat(None)
        return
    with _mask_errors():
        for _, frame in read_plan(plan_frames_at(path, plan.indices, limits), limits, "gray"):
            yield None if frame is None else frame.image


def _fitted(mask: Pixels | None, image: Pixels) -> Pixels | None:
    """The mask at the size of the frame; releases store some masks at another size."""
    height, width = image.shape[:2]
    if mask is None or mask.shape == (height, width):
        return mask
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


@contextmanager
def _mask_errors() -> Iterator[None]:
    try:
        yield
    except MediaError as error:
        raise MediaError(f"mask_{error.reason}", error.detail) from error
