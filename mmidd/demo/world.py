"""Builds the demo world: small raw trees in official layouts from real portraits.

Every fake is forged on a still and filmed by the camera, over the background and through the
encoder of a real clip, so that what tells it is the forgery and not the making of the file.
Its numbers say that the machinery works; they claim nothing about real forgeries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmidd.demo import ffhq, ffpp, own
from mmidd.demo.cast import Cast
from mmidd.demo.jobs import Job, Take, rng_for, run_all
from mmidd.demo.portraits import packaged_portraits, portraits_in
from mmidd.demo.trees import clips as small_clips
from mmidd.demo.trees import evaluation, fakes, reals
from mmidd.demo.trees.tree import Tree
from mmidd.errors import UsageError

LEAST_CLIPS = 48


@dataclass(frozen=True)
class WorldSummary:
    """What was built.

    Attributes:
        root: folder of the world.
        identities: names of the people of every split.
        files: number of videos and stills by tree and forgery, such as ("ff++", "Deepfakes").
        skipped: portraits not used, counted by reason.
        notes: what the user should know, such as absent packages; and the portraits' terms.
    """

    root: Path
    identities: dict[str, tuple[str, ...]]
    files: dict[tuple[str, str], int]
    skipped: dict[str, int]
    notes: tuple[str, ...]


def build_world(
    out: Path,
    portraits: Path | None = None,
    *,
    seed: int = 0,
    clips: int = 180,
    seconds: float = 2.0,
    fps: int = 25,
    strength: float = 1.0,
    workers: int = 2,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> WorldSummary:
    """Writes `ff++`, `ffhq`, `folder`, `folder-stills` and a small tree of every other source under `out`.

    Args:
        out: a folder that is absent or empty.
        portraits: a folder of face photos; without it those inside installed packages.
        seed: fixes every byte of the world.
        clips: about how many videos, masks not counted; three quarters as many stills come on top.
        seconds: mean length of a clip.
        fps: frames per second.
        strength: how visible the forgeries are; 1 is the default, less is harder.
        workers: processes.
        on_progress: called with (scenes done, scenes in all).

    Raises:
        UsageError: `out` is not empty, too few clips asked for, or too few portraits.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder; remove it or name another one")
    if not LEAST_CLIPS <= clips <= 6000 or min(seconds * fps, workers) < 1:
        raise UsageError(
            f"the demo world needs {LEAST_CLIPS} to 6000 clips, one frame and one worker or more"
        )
    plan = _Plan.of(clips)
    rng = rng_for(seed, "cast")
    found = portraits_in(portraits, plan.people, rng) if portraits else packaged_portraits()
    cast = Cast.draw(found.portraits, rng)

    pairs = ffpp.draw_pairs(cast, plan.pairs, rng)
    videos = own.draw(own.VIDEOS, cast, plan.reals, plan.fakes, rng)
    stills = own.draw(own.STILLS, cast, plan.fakes, 2 * plan.fakes, rng)
    faces = ffhq.jobs(cast, plan.fakes)
    trees = small_trees(cast, pairs)
    jobs = [*faces, *ffpp.jobs(pairs), *own.jobs(own.VIDEOS, videos), *own.jobs(own.STILLS, stills)]
    jobs += [job for tree in trees for job in tree.jobs]
    landmarks = run_all(out, jobs, Take(seed, seconds, fps, strength), workers, on_progress)

    ffpp.annotate(out, pairs)
    ffhq.annotate(out, cast, faces, landmarks[: len(faces)])
    own.annotate(out, own.VIDEOS, videos)
    own.annotate(out, own.STILLS, stills)
    for tree in trees:
        tree.finish(out)
    return WorldSummary(
        root=out,
        identities={str(s): tuple(p.identity for p in people) for s, people in cast.people.items()},
        files=_count(jobs),
        skipped=dict(found.skipped),
        notes=tuple(found.notes),
    )


def small_trees(cast: Cast, pairs: ffpp.Pairs) -> list[Tree]:
    """A tree of every source but those that the world is built around; their size does not grow with it."""
    return [
        fakes.df40(pairs),
        fakes.dff(cast),
        fakes.dffd(cast),
        small_clips.dfdcp(cast),
        small_clips.kodf(cast),
        small_clips.timit(cast),
        small_clips.celebvhq(cast),
        reals.celeba(cast),
        reals.celebahq(cast),
        evaluation.celebdf(cast, 1),
        evaluation.celebdf(cast, 2),
        evaluation.dfd(cast),
        evaluation.dfdc(cast),
        evaluation.uadfv(cast),
        evaluation.wilddeepfake(cast),
        evaluation.df40_test(cast, pairs),
        evaluation.genimage(),
    ]


@dataclass(frozen=True)
class _Plan:
    """How many files of each kind: one third of the videos and of the stills is real.

    Half of the videos are FaceForensics++'s, one real to five fakes as there; the `folder` tree
    makes up for it with reals. Otherwise the kind of file would tell real from fake.
    """

    pairs: int
    reals: int
    fakes: int

    @classmethod
    def of(cls, clips: int) -> _Plan:
        pairs, fakes = max(3, round(clips / 24)), max(3, round(clips / 8))
        return cls(pairs, 3 * pairs + fakes, fakes)

    @property
    def people(self) -> int:
        return 2 * self.pairs + self.reals


def _count(jobs: list[Job]) -> dict[tuple[str, str], int]:
    return dict(Counter((shot.path.parts[0], shot.forgery) for job in jobs for shot in job.shots))
