"""Recall, box agreement with dlib and frames per second of every detector whose model is here.

    python benchmarks/detectors.py --out benchmarks/results/detectors.json

Stills: portraits with one face each, as they are, and shrunk to a quarter on a 720p frame, so that
faces are small. Nobody drew the truth: it is the median of the detectors' boxes on the whole portrait,
and a face is found when the middle of a box lies within a quarter of the face's side of its middle.
Box agreement is the mean IoU with dlib's box on whole portraits. Each detector runs in one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmidd.engine.threads import single_thread
from mmidd.errors import UsageError
from mmidd.preprocess.decode import load_image
from mmidd.preprocess.detectors.base import Detector, Face, Floats, Pixels, box_iou, make_detector

NAMES = ("dlib", "yunet", "retinaface", "insightface")
SHRINK = (1, 4)
"""How much smaller the portraits are made."""

CANVAS = (720, 1280)
"""The shrunk portrait is put on a grey frame of this height and width."""


def frames(images: Sequence[Pixels], shrink: int) -> list[Pixels]:
    """The portraits as they are, or shrunk, in the middle of a grey frame."""
    return [image if shrink == 1 else _placed(image, shrink) for image in images]


def _offset(image: Pixels, shrink: int) -> tuple[int, int]:
    height, width = image.shape[0] // shrink, image.shape[1] // shrink
    return (CANVAS[1] - width) // 2, (CANVAS[0] - height) // 2


def _placed(image: Pixels, shrink: int) -> Pixels:
    size = (image.shape[1] // shrink, image.shape[0] // shrink)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    frame = np.full((*CANVAS, 3), 127, np.uint8)
    x, y = _offset(image, shrink)
    frame[y : y + size[1], x : x + size[0]] = small
    return frame


def run(detector: Detector, images: Sequence[Pixels]) -> tuple[list[list[Face]], float]:
    """The faces of every image and the median seconds an image takes."""
    detector.detect(images[0])
    found, seconds = [], []
    for image in images:
        start = time.perf_counter()
        found.append(detector.detect(image))
        seconds.append(time.perf_counter() - start)
    return found, statistics.median(seconds)


def reference(found: Sequence[Sequence[Face]]) -> Floats | None:
    """The median over the detectors of their largest box in one portrait."""
    boxes = [faces[0].box for faces in found if faces]
    return np.median(boxes, axis=0).astype(np.float32) if boxes else None


def hit(faces: Sequence[Face], truth: Floats) -> bool:
    """Some box has its middle within a quarter of the truth's side of the truth's middle."""
    side = float(np.max(truth[2:] - truth[:2]))
    middle = (truth[:2] + truth[2:]) / 2
    return any(float(np.hypot(*((f.box[:2] + f.box[2:]) / 2 - middle))) <= side / 4 for f in faces)


def measure(detectors: Sequence[Detector], images: Sequence[Pixels]) -> dict[str, object]:
    """Figures of every detector on the whole portraits and the shrunk ones."""
    whole = {d.name: run(d, images) for d in detectors}
    truths = [reference([whole[d.name][0][n] for d in detectors]) for n in range(len(images))]
    usable = [n for n, truth in enumerate(truths) if truth is not None]
    rows: dict[str, object] = {}
    for detector in detectors:
        row: dict[str, object] = {"version": detector.version}
        for shrink in SHRINK:
            found, seconds = whole[detector.name] if shrink == 1 else run(detector, frames(images, shrink))
            moved = {n: _moved(truths[n], images[n], shrink) for n in usable}
            row[f"recall_{shrink}"] = sum(hit(found[n], moved[n]) for n in usable) / len(usable)
            row[f"extra_faces_{shrink}"] = sum(max(len(faces) - 1, 0) for faces in found)
            row[f"frames_per_second_{shrink}"] = 1 / seconds
        pairs = zip(whole[detector.name][0], whole["dlib"][0], strict=True)
        overlaps = [box_iou(mine[0].box, theirs[0].box) for mine, theirs in pairs if mine and theirs]
        row["iou_with_dlib"] = statistics.fmean(overlaps)
        row["landmark_error"] = _landmark_error(whole[detector.name][0], whole["dlib"][0])
        rows[detector.name] = row
    return {"portraits": len(images), "with_a_face": len(usable), "detectors": rows}


def _moved(truth: Floats | None, image: Pixels, shrink: int) -> Floats:
    assert truth is not None
    offset = np.tile(np.array(_offset(image, shrink), np.float32), 2)
    return truth if shrink == 1 else (truth / shrink + offset).astype(np.float32)


def _landmark_error(mine: Sequence[Sequence[Face]], theirs: Sequence[Sequence[Face]]) -> float:
    """Mean distance of the five points from dlib's over the distance of the eyes."""
    errors = []
    for a, b in zip(mine, theirs, strict=True):
        if a and b and a[0].landmarks5 is not None and b[0].landmarks5 is not None:
            eyes = float(np.hypot(*(b[0].landmarks5[1] - b[0].landmarks5[0])))
            errors.append(float(np.hypot(*(a[0].landmarks5 - b[0].landmarks5).T).mean()) / eyes)
    return statistics.median(errors)


def available() -> list[Detector]:
    """The detectors whose package and model are here; says what is left out."""
    found = []
    for name in NAMES:
        try:
            found.append(make_detector(name))
        except UsageError as error:
            print(f"left out: {error}")
    return found


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--portraits", type=Path, default=Path(__file__).parents[2] / "shared/data/portraits")
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    single_thread()
    files = sorted(args.portraits.rglob("*.jpg"))
    images = [load_image(path) for path in files[:: max(len(files) // args.count, 1)][: args.count]]
    figures = measure(available(), images)
    figures["machine"] = {
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
    }
    args.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
