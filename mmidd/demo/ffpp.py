"""The FaceForensics++ tree: real clips, five methods, masks, pair splits, conversion table.

Layout after ondyari/FaceForensics, dataset/README.md and dataset/splits.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmidd.demo.cast import Cast, shares
from mmidd.demo.forge import FF_METHODS
from mmidd.demo.jobs import Job, Shot
from mmidd.demo.portraits import Portrait
from mmidd.schema import Split

ROOT = Path("ff++")
_WITHOUT_MASKS = "FaceShifter"


@dataclass(frozen=True)
class Clip:
    """A real clip: its three-digit id and who is in it."""

    name: str
    person: Portrait


Pairs = dict[Split, list[tuple[Clip, Clip]]]


def draw_pairs(cast: Cast, pairs: int, rng: np.random.Generator) -> Pairs:
    """Casts `pairs` pairs of clips of two different people, each pair inside one split."""
    names = iter([f"{k:03d}" for k in rng.permutation(2 * pairs)])
    drawn: Pairs = {}
    for split, count in shares(pairs, 1).items():
        clips = [Clip(next(names), person) for person in cast.deal(split, 2 * count)]
        drawn[split] = list(zip(clips[::2], clips[1::2], strict=True))
    return drawn


def jobs(pairs: Pairs) -> list[Job]:
    """One job for every real clip, with the five fakes it is the target of."""
    both = [pair for group in pairs.values() for a, b in group for pair in ((a, b), (b, a))]
    return [_job(target, donor) for target, donor in both]


def annotate(root: Path, pairs: Pairs) -> None:
    """Writes the split lists and the conversion table."""
    folder = root / ROOT
    (folder / "splits").mkdir(parents=True, exist_ok=True)
    for split, group in pairs.items():
        _dump(folder / "splits" / f"{split}.json", [[a.name, b.name] for a, b in group])
    seen: dict[str, int] = {}
    table = {}
    for clip in sorted((c for group in pairs.values() for pair in group for c in pair), key=lambda c: c.name):
        index = seen.setdefault(clip.person.identity, 0)
        table[clip.name] = f"{youtube_id(clip.person.identity)} {index}"
        seen[clip.person.identity] += 1
    _dump(folder / "conversion_dict.json", table)


def youtube_id(identity: str) -> str:
    """An invented video id of eleven characters: clips of one person share it."""
    return "demo" + hashlib.sha256(identity.encode()).hexdigest()[:7]


def _job(target: Clip, donor: Clip) -> Job:
    path = ROOT / "original_sequences/youtube/c23/videos" / f"{target.name}.mp4"
    shots = [Shot(path, "real", (target.person,))]
    for method in FF_METHODS:
        folder = ROOT / "manipulated_sequences" / method
        name = f"{target.name}_{donor.name}.mp4"
        mask = None if method == _WITHOUT_MASKS else folder / "masks/videos" / name
        shots.append(Shot(folder / "c23/videos" / name, method, (target.person, donor.person), mask))
    return Job(path.as_posix(), tuple(shots))


def _dump(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
