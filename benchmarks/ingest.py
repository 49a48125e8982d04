"""Frames per second and recall of `mmidd` extraction against the common practice, on the same videos.

    python benchmarks/ingest.py --out benchmarks/results/ingest.json

The common practice: dlib's frontal detector with one upsampling on every sampled frame at full
resolution, in one process. It is timed for decoding and detection only; mmidd is timed for all it
does (decoding, detection, landmarks, choice, crop, measurements, JPEG).

The videos are 720p H.264: a portrait in a cluttered scene, seen by a camera that pans, zooms, rolls
and loses focus. The true box is the one found in the still portrait, carried along by the camera.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

import av
import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from mmidd.engine.threads import single_thread
from mmidd.preprocess.decode import load_image, sample_video
from mmidd.preprocess.detectors.base import Face, Floats, Pixels, box_iou, make_detector
from mmidd.preprocess.extract import extract
from mmidd.schema import Media
from mmidd.spec import PreprocessSpec

WIDTH, HEIGHT, RATE = 1280, 720, 25
FACE_SIZES = (45, 60, 80, 110, 160, 240, 320, 400)
FOUND = 0.4
"""Overlap (IoU) with the true box from which a face counts as found."""

T = TypeVar("T")
Boxes = dict[int, list[Floats]]


@dataclass(frozen=True)
class Scene:
    """A video and, for every frame of it, the true box of its face."""

    path: Path
    face_px: int
    truth: NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """Per sampled frame the chosen box and the bounding box of its landmarks; processor time."""

    boxes: Boxes
    marks: Boxes
    cpu_s: float


def portraits(folder: Path) -> Iterator[tuple[Pixels, Face]]:
    """Portraits with the one face found in each; scikit-image's portrait where there is no folder."""
    detector = make_detector("dlib")
    files = sorted(folder.rglob("*.jpg"))
    for image in (load_image(path) for path in files) if files else [_astronaut()]:
        faces = detector.detect(image)
        if len(faces) == 1:
            yield image, faces[0]


def _astronaut() -> Pixels:
    from skimage.data import astronaut

    return np.asarray(astronaut(), dtype=np.uint8)  # type: ignore[no-untyped-call]


def clutter(rng: np.random.Generator) -> Pixels:
    """A scene without faces: smooth noise of several scales and random rectangles."""
    scene = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for cells in (4, 16, 64):
        noise = rng.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
        scene += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) / 3
    for _ in range(40):
        x, y, w, h = (int(v) for v in rng.integers((0, 0, 10, 10), (WIDTH, HEIGHT, 240, 240)))
        cv2.rectangle(scene, (x, y), (x + w, y + h), [float(c) for c in rng.uniform(0, 255, 3)], -1)
    return np.clip(scene, 0, 255).astype(np.uint8)


def make_scene(path: Path, image: Pixels, face: Face, face_px: int, frames: int, seed: int) -> Scene:
    """Write one video; the camera's path is a sum of two slow sines per degree of freedom."""
    rng = np.random.default_rng(seed)
    background = clutter(rng)
    waves = rng.uniform((0.1, 0), (0.5, 2 * np.pi), (4, 2, 2))
    box_side, box_centre = float(face.box[2] - face.box[0]), (face.box[:2] + face.box[2:]) / 2
    truth = []
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "28", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for time_s in np.arange(frames) / RATE:
            roll, zoom, dx, dy = np.sin(2 * np.pi * waves[..., 0] * time_s + waves[..., 1]).mean(axis=1)
            scale = face_px / box_side * 1.15**zoom
            place = np.array([WIDTH / 2 + 0.3 * WIDTH * dx, HEIGHT / 2 + 0.15 * HEIGHT * dy])
            matrix = cv2.getRotationMatrix2D((0.0, 0.0), 25 * float(roll), scale)
            matrix[:, 2] = place - matrix[:, :2] @ box_centre
            frame = cv2.warpAffine(
                image, matrix, (WIDTH, HEIGHT), background.copy(), cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
            )
            frame = cv2.GaussianBlur(frame, (0, 0), 0.1 + 1.5 * abs(float(zoom)))
            picture = av.VideoFrame.from_ndarray(np.asarray(frame, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
            half = box_side * scale / 2
            truth.append([*(place - half), *(place + half)])
        container.mux(stream.encode(None))
    return Scene(path, face_px, np.array(truth, np.float32))


def common_practice(scenes: Sequence[Scene], frames: int) -> list[Boxes]:
    """Boxes per video and frame by dlib with one upsampling, frame after frame."""
    detector = dlib.get_frontal_face_detector()
    return [
        {
            frame.index or 0: [
                np.array([r.left(), r.top(), r.right() + 1, r.bottom() + 1], np.float32)
                for r in detector(frame.image, 1)
            ]
            for frame in sample_video(scene.path, frames)
        }
        for scene in scenes
    ]


def mmidd_boxes(path: Path, frames: int) -> Found:
    """What mmidd extracts from one video."""
    start = time.process_time()
    boxes: Boxes = {}
    marks: Boxes = {}
    for item in extract(path, Media.VIDEO, PreprocessSpec(frames=frames)):
        index = item.frame_index or 0
        boxes[index] = [] if item.box is None else [np.array(item.box, np.float32)]
        points = np.array(item.landmarks or (), np.float32).reshape(-1, 2)
        marks[index] = [np.concatenate([points.min(0), points.max(0)])] if len(points) else []
    return Found(boxes, marks, time.process_time() - start)


def recall(scenes: Sequence[Scene], found: Sequence[Boxes], hit: Callable[[Floats, Floats], bool]) -> float:
    """Share of sampled frames in which some box hits the true one."""
    hits = [
        any(hit(box, scene.truth[index]) for box in boxes)
        for scene, frames in zip(scenes, found, strict=True)
        for index, boxes in frames.items()
    ]
    return sum(hits) / len(hits)


def overlaps(box: Floats, truth: Floats) -> bool:
    """The boxes overlap by `FOUND` or more."""
    return box_iou(box, truth) >= FOUND


def centred(box: Floats, truth: Floats) -> bool:
    """The centre lies within a quarter of the face's side of the true centre."""
    distance = (box[:2] + box[2:] - truth[:2] - truth[2:]) / 2
    return float(np.hypot(*distance)) <= 0.25 * float(truth[2] - truth[0])


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What the work returns, its wall-clock seconds and its processor seconds in this process."""
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - start, time.process_time() - cpu


def pool(processes: int) -> ProcessPoolExecutor:
    """Started worker processes that hold a detector."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(processes, context, single_thread)
    list(executor.map(_hold_detector, range(4 * processes)))
    return executor


def _hold_detector(_: int) -> None:
    from mmidd.preprocess.extract import detector_named

    detector_named("dlib")
    time.sleep(0.1)


def _extract_all(executor: ProcessPoolExecutor, scenes: Sequence[Scene], frames: int) -> list[Found]:
    return list(executor.map(mmidd_boxes, (scene.path for scene in scenes), cycle([frames])))


def measure(scenes: Sequence[Scene], frames: int, rounds: int) -> dict[str, object]:
    """All three ways in turn, `rounds` times; medians, and recall of the last round."""
    total = sum(min(frames, len(scene.truth)) for scene in scenes)
    wall: dict[str, list[float]] = {"common": [], "mmidd_1": [], "mmidd_2": []}
    cpu: dict[str, list[float]] = {"common": [], "mmidd_1": [], "mmidd_2": []}
    with pool(1) as one, pool(2) as two:
        for _ in range(rounds):
            common, took, cpu_s = timed(partial(common_practice, scenes, frames))
            wall["common"].append(took)
            cpu["common"].append(cpu_s)
            for name, executor in (("mmidd_1", one), ("mmidd_2", two)):
                ours, took, _ = timed(partial(_extract_all, executor, scenes, frames))
                wall[name].append(took)
                cpu[name].append(sum(found.cpu_s for found in ours))
    rate = {name: total / statistics.median(values) for name, values in wall.items()}
    cpu_ms = {name: 1000 * statistics.median(values) / total for name, values in cpu.items()}
    boxes, marks = [found.boxes for found in ours], [found.marks for found in ours]
    by_size = {
        scene.face_px: (recall([scene], [a], overlaps), recall([scene], [b], overlaps))
        for scene, a, b in zip(scenes, common, boxes, strict=True)
    }
    return {
        "frames": total,
        "wall_s": wall,
        "frames_per_second": rate,
        "cpu_ms_per_frame": cpu_ms,
        "speed_up_2_processes": rate["mmidd_2"] / rate["common"],
        "speed_up_1_process": rate["mmidd_1"] / rate["common"],
        "speed_up_per_cpu_second": cpu_ms["common"] / cpu_ms["mmidd_2"],
        "recall_common": recall(scenes, common, overlaps),
        "recall_mmidd": recall(scenes, boxes, overlaps),
        "centred_common": recall(scenes, common, centred),
        "centred_mmidd": recall(scenes, boxes, centred),
        "centred_mmidd_landmarks": recall(scenes, marks, centred),
        "recall_by_face_px_common_mmidd": by_size,
        "machine": {
            "cpus": os.cpu_count(),
            "load": os.getloadavg(),
            "python": platform.python_version(),
            "dlib": dlib.__version__,
            "opencv": cv2.__version__,
            "av": av.__version__,
        },
    }


def main() -> None:
    """Build the videos, measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--portraits", type=Path, default=Path(__file__).parents[2] / "shared/data/portraits")
    parser.add_argument("--videos", type=int, default=len(FACE_SIZES))
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        cast = cycle(list(islice(portraits(args.portraits), args.videos)))
        scenes = [
            make_scene(Path(folder, f"{n}.mp4"), *next(cast), size, args.seconds * RATE, seed=n)
            for n, size in enumerate(islice(cycle(FACE_SIZES), args.videos))
        ]
        figures = measure(scenes, args.frames, args.rounds)
    args.out.write_text(json.dumps(figures, indent=1) + "\n")
    for name, value in figures.items():
        if name not in ("wall_s", "machine"):
            print(f"{name:32} {value}")


if __name__ == "__main__":
    main()
