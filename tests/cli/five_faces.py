"""A workspace to simulate on: five faces with landmarks, and a sample without."""

from __future__ import annotations

from pathlib import Path

from mmidd.preprocess.crop import encode_image
from mmidd.spec import PreprocessSpec
from tests.audit.audit_world import build, row
from tests.captioning.test_measured import points
from tests.preprocess_blend.faces import picture

FACES, BARE = 5, 1


def make(root: Path) -> None:
    crop = {"width": 256, "height": 256, "encoding": "jpeg", "compression": "c23"}
    shared = {**crop, "spec_id": PreprocessSpec(frames=4, size=32).spec_id}
    landmarks = {
        "landmarks": points().ravel().tolist(),
        "landmark_scheme": "dlib68",
        "crop_matrix": [1.0, 0, 0, 0, 1, 0],
    }
    rows, blobs = [], {}
    for number in range(FACES + BARE):
        face = landmarks if number < FACES else {}
        rows.append(row(f"r{number}", source="ab"[number % 2], **shared, **face))
        blobs[f"r{number}.png"] = encode_image(picture(number), PreprocessSpec())
    build(root, *rows, blobs=blobs)
