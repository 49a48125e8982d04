"""The FFHQ tree: real stills, thumbnails and the JSON of NVlabs/ffhq-dataset (README.md there)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmidd.demo.cast import SHARES, Cast
from mmidd.demo.jobs import Job, Shot
from mmidd.demo.portraits import Points, Portrait, load_rgb
from mmidd.schema import Split

ROOT = Path("ffhq")
SIDE = 512
"""Side of a still in pixels; the official 1024 would only enlarge the demo's portraits."""

_LICENCE = (
    "This folder was made by mmidd's demo in the layout of the FFHQ dataset. It holds no FFHQ image:\n"
    "its stills are filmed from the portraits named by the demo, under the terms of those portraits.\n"
)


def jobs(cast: Cast, count: int) -> list[Job]:
    """Stills of training people first, then of validation people, as FFHQ orders its categories."""
    held_out = max(1, round(SHARES[Split.VAL] * count))
    people = cast.deal(Split.TRAIN, count - held_out) + cast.deal(Split.VAL, held_out)
    return [_job(index, person) for index, person in enumerate(people)]


def annotate(root: Path, cast: Cast, made: Sequence[Job], landmarks: Sequence[Points]) -> None:
    """Writes the thumbnails, `ffhq-dataset-v2.json` and `LICENSE.txt`."""
    training = {person.identity for person in cast.people[Split.TRAIN]}
    table = {}
    for index, (job, points) in enumerate(zip(made, landmarks, strict=True)):
        person = job.shots[0].people[0].identity
        table[str(index)] = {
            "category": "training" if person in training else "validation",
            "metadata": _metadata(person),
            "image": {**_describe(root, job.shots[0].path), "face_landmarks": points.round(2).tolist()},
            "thumbnail": _describe(root, _thumbnail(root, job.shots[0].path)),
        }
    (root / ROOT / "ffhq-dataset-v2.json").write_text(json.dumps(table) + "\n", encoding="utf-8")
    (root / ROOT / "LICENSE.txt").write_text(_LICENCE, encoding="utf-8")


def _job(index: int, person: Portrait) -> Job:
    path = ROOT / "images1024x1024" / f"{index // 1000 * 1000:05d}" / f"{index:05d}.png"
    return Job(path.as_posix(), (Shot(path, "real", (person,)),), (SIDE, SIDE))


def _metadata(person: str) -> dict[str, str]:
    unknown = ("photo_url", "country", "license", "license_url", "date_uploaded", "date_crawled")
    return {"photo_title": person, "author": person, **dict.fromkeys(unknown, "")}


def _thumbnail(root: Path, path: Path) -> Path:
    target = ROOT / "thumbnails128x128" / path.relative_to(ROOT / "images1024x1024")
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    small = cv2.resize(load_rgb(root / path), (128, 128), interpolation=cv2.INTER_AREA)
    Image.fromarray(np.asarray(small, np.uint8)).save(root / target)
    return target


def _describe(root: Path, path: Path) -> dict[str, object]:
    data = (root / path).read_bytes()
    pixels = load_rgb(root / path)
    return {
        "file_url": "",
        "file_path": path.relative_to(ROOT).as_posix(),
        "file_size": len(data),
        "file_md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "pixel_size": [pixels.shape[1], pixels.shape[0]],
        "pixel_md5": hashlib.md5(pixels.tobytes(), usedforsecurity=False).hexdigest(),
    }
