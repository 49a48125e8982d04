"""What to film: a job is one scene with all the stills, real and forged, that share it."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmidd.demo.camera import Scene, write_video
from mmidd.demo.forge import FORGERIES
from mmidd.demo.portraits import Points, Portrait
from mmidd.engine.threads import single_thread


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
    """One file: a still made by `FORGERIES[forgery]`, filmed to `path`, its region to `mask`."""

    path: Path
    forgery: str
    people: tuple[Portrait, ...]
    mask: Path | None = None


@dataclass(frozen=True)
class Job:
    """Shots of one scene; `size` fixes the frame, else it is drawn."""

    key: str
    shots: tuple[Shot, ...]
    size: tuple[int, int] | None = None


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
    frames = max(1, round(take.seconds * take.fps * rng.uniform(0.8, 1.2)))
    scene = Scene.draw(rng, frames, job.size)
    for shot in job.shots:
        _film(root, shot, scene, take)
    return scene.locate(job.shots[0].people[0].points)


def _film(root: Path, shot: Shot, scene: Scene, take: Take) -> None:
    rng = rng_for(take.seed, shot.path.as_posix())
    still = FORGERIES[shot.forgery](shot.people, rng, take.strength)
    target = root / shot.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".png":
        Image.fromarray(next(scene.film(still))).save(target, compress_level=3)
        return
    write_video(target, scene.film(still), take.fps)
    if shot.mask is not None:
        write_video(root / shot.mask, scene.film_region(still), take.fps)
