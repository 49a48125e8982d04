"""What to film: a job is one scene with all the stills, real and forged, that share it."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmidd.demo.camera import Scene, write_video
from mmidd.demo.forge import FORGERIES
from mmidd.demo.portraits import Pixels, Points, Portrait
from mmidd.demo.scenery import SCENERY
from mmidd.engine.threads import single_thread
from mmidd.ingest.tree import VIDEO_SUFFIXES

STILLS = {**FORGERIES, **SCENERY}
"""Everything that can be filmed, by name."""

FRAME_STEP = 5
"""Every so many frames of a clip are kept where it is saved as single images."""


@dataclass(frozen=True)
class Take:
    """How everything is filmed.

    Attributes:
        seed: with a file's path it fixes every random choice.
        seconds: mean length of a clip; single clips are up to a fifth shorter or longer.
        fps: frames per second.
        strength: how visible the forgeries are; 1 is the default, less is harder.
    """

    seed: int
    seconds: float
    fps: int
    strength: float


@dataclass(frozen=True)
class Shot:
    """A still filmed to one file, or to a folder of frames.

    Attributes:
        path: where to; a video, an image (the first frame), or the folder of `frames`.
        forgery: kind of still, by its name in `FORGERIES` or `SCENERY`.
        people: the target and who else is needed.
        mask: where the forged region is filmed to.
        crop: width and height of a crop around the face; None for whole frames.
        frames: names of single frames by number, such as "{:03d}.png"; without a suffix they are JPEG.
    """

    path: Path
    forgery: str
    people: tuple[Portrait, ...]
    mask: Path | None = None
    crop: tuple[int, int] | None = None
    frames: str | None = None


@dataclass(frozen=True)
class Job:
    """Shots of one scene; `size` fixes the frame, else it is drawn; `seconds` fixes the mean length."""

    key: str
    shots: tuple[Shot, ...]
    size: tuple[int, int] | None = None
    seconds: float | None = None


def rng_for(seed: int, key: str) -> np.random.Generator:
    """A generator that depends on nothing but the seed and the key."""
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, np.uint32).tolist()])


def run_all(
    root: Path, jobs: Sequence[Job], take: Take, workers: int, on_progress: Callable[[int, int], None]
) -> list[Points]:
    """Films every job in a pool of processes; files depend on neither their number nor the order.

    `on_progress` is called with (jobs done, jobs in all) after each.

    Returns:
        For every job the first person's landmarks in its first frame, (68, 2) pixels.
    """
    arguments = [root] * len(jobs), jobs, [take] * len(jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=single_thread) as pool:
        points = []
        for located in (map if workers == 1 else pool.map)(run, *arguments):
            points.append(located)
            on_progress(len(points), len(jobs))
    return points


def run(root: Path, job: Job, take: Take) -> Points:
    """Films one job under `root`."""
    rng = rng_for(take.seed, job.key)
    seconds = take.seconds if job.seconds is None else min(job.seconds, take.seconds)
    frames = max(1, round(seconds * take.fps * rng.uniform(0.8, 1.2)))
    scene = Scene.draw(rng, frames, job.size)
    for shot in job.shots:
        _film(root, shot, scene, take)
    people = job.shots[0].people
    return scene.locate(people[0].points) if people else np.empty((0, 2), np.float32)


def _film(root: Path, shot: Shot, scene: Scene, take: Take) -> None:
    rng = rng_for(take.seed, shot.path.as_posix())
    still = STILLS[shot.forgery](shot.people, rng, take.strength)
    _save(root / shot.path, _seen(scene.film(still), shot, scene), shot.frames, take.fps)
    if shot.mask is not None:
        _save(root / shot.mask, _seen(scene.film_region(still), shot, scene), shot.frames, take.fps)


def _seen(images: Iterator[Pixels], shot: Shot, scene: Scene) -> Iterator[Pixels]:
    """The frames, or the crop of the face in each."""
    if shot.crop is None:
        return images
    points, size = shot.people[0].points, shot.crop
    return (_cropped(image, scene.locate(points, k), size) for k, image in enumerate(images))


def _cropped(image: Pixels, points: Points, size: tuple[int, int]) -> Pixels:
    """The face with a margin, chin to above the brows, resampled to `size`."""
    low, high = points.min(0), points.max(0)
    centre = (low + high) / 2 - (0, 0.1 * (high[1] - low[1]))
    scale = min(size) / (1.5 * float((high - low).max()))
    matrix = np.array(
        [[scale, 0, size[0] / 2 - scale * centre[0]], [0, scale, size[1] / 2 - scale * centre[1]]]
    )
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(
        cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _save(path: Path, images: Iterator[Pixels], frames: str | None, fps: int) -> None:
    if frames is not None:
        for k, image in islice(enumerate(images), 0, None, FRAME_STEP):
            _save_image(path / frames.format(k), image)
    elif path.suffix in VIDEO_SUFFIXES:
        write_video(path, images, fps)
    else:
        _save_image(path, next(images))


def _save_image(path: Path, image: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(image).save(path, compress_level=3)
    else:
        Image.fromarray(image).save(path, "JPEG", quality=95)
