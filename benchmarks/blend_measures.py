"""What the blending benchmarks share: a face, and numbers that describe a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib import get_data_path

from mmidd.preprocess.blend.landmarks import FaceMarks, face_marks, to_crop
from mmidd.preprocess.crop import crop_face
from mmidd.preprocess.decode import load_image
from mmidd.preprocess.detectors.base import Pixels, make_detector
from mmidd.spec import PreprocessSpec


def portrait() -> tuple[Pixels, FaceMarks]:
    """The crop of matplotlib's sample portrait at 256 pixels and its landmarks in crop pixels."""
    image = load_image(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")
    face = make_detector("dlib").detect(image)[0]
    crop, matrix = crop_face(image, face, PreprocessSpec())
    assert face.landmarks is not None
    return crop, face_marks(to_crop(face.landmarks, matrix), "dlib68")


def measures(real: Pixels, fake: Pixels, mask: Any) -> dict[str, float]:
    """Of the mask in [0, 1]: covered and soft share; of the blend: change inside, at the edge, detail."""
    difference = cv2.absdiff(real, fake).mean(axis=2)
    core, edge = mask > 0.9, (mask > 0.05) & (mask < 0.9)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (real, fake)]
    detail = [cv2.Laplacian(image, cv2.CV_32F)[core].std() for image in grey]
    return {
        "mask area": float(mask.mean()),
        "soft share": float(edge.mean()),
        "change inside": float(difference[core].mean()),
        "change at the edge": float(difference[edge].mean()),
        "log detail, fake over real": float(np.log(detail[1] / detail[0])),
    }
