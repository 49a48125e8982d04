"""Two trees of "own data" for the `folder` reader: reals, morphs (EFS) and retouches (FE)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from mmidd.demo.cast import Cast, shares
from mmidd.demo.jobs import Job, Shot
from mmidd.demo.portraits import Portrait
from mmidd.schema import ForgeryType, Label, Split

COLUMNS = ("path", "label", "type", "method", "split", "video", "pair", "identity")


@dataclass(frozen=True)
class Own:
    """One of the two trees: where it lies, what its files are, and the size of its frames."""

    root: Path
    media: str
    suffix: str
    size: tuple[int, int] | None


VIDEOS = Own(Path("folder"), "video", ".mp4", None)
STILLS = Own(Path("folder-stills"), "image", ".png", (512, 512))


@dataclass(frozen=True)
class Item:
    """A row of `labels.csv` and the shot that makes its file; a forgery has the `pair` of its real."""

    shot: Shot
    split: Split
    pair: str

    def row(self, root: Path) -> dict[str, str]:
        """The row's columns; several identities are joined by a semicolon."""
        kind = self.shot.forgery
        return {
            "path": self.shot.path.relative_to(root).as_posix(),
            "label": Label.REAL if kind == "real" else Label.FAKE,
            "type": _TYPES[kind],
            "method": kind,
            "split": self.split,
            "video": f"{kind}-{self.shot.path.stem}",
            "pair": self.pair,
            "identity": ";".join(p.identity for p in self.shot.people),
        }


def draw(own: Own, cast: Cast, reals: int, fakes: int, rng: np.random.Generator) -> list[list[Item]]:
    """Items grouped by scene: a real, a retouch or both in one scene, a morph alone.

    Args:
        own: the tree.
        cast: the people.
        reals: number of reals.
        fakes: number of retouches and of morphs, each.
        rng: draws who is morphed with whom.
    """
    real, fake = shares(reals, 1), shares(fakes, 1)
    scenes: list[list[Item]] = []
    for split in real:
        for k, person in enumerate(cast.deal(split, max(real[split], fake[split]))):
            kinds = ["real"] * (k < real[split]) + ["retouch"] * (k < fake[split])
            name = f"{split}{k:03d}"
            scenes.append([Item(_shot(own, name, kind, (person,)), split, name) for kind in kinds])
            if k < fake[split]:
                several = _several(cast.people[split], person, rng)
                scenes.append([Item(_shot(own, name, "morph", several), split, "")])
    return scenes


def jobs(own: Own, scenes: Sequence[Sequence[Item]]) -> list[Job]:
    """One job for every scene."""
    return [Job(s[0].shot.path.as_posix(), tuple(item.shot for item in s), own.size) for s in scenes]


def annotate(root: Path, own: Own, scenes: Sequence[Sequence[Item]]) -> None:
    """Writes `labels.csv` and the `dataset.yaml` that describes it."""
    folder = root / own.root
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(item.row(own.root) for scene in scenes for item in scene)
    name = f"demo-own-{own.media}s"
    content = {"name": name, "media": own.media, "csv": "labels.csv", "columns": {c: c for c in COLUMNS}}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


_TYPES = {"real": ForgeryType.REAL, "morph": ForgeryType.EFS, "retouch": ForgeryType.FE}


def _shot(own: Own, name: str, kind: str, people: tuple[Portrait, ...]) -> Shot:
    return Shot(own.root / f"{own.media}s" / kind / f"{name}{own.suffix}", kind, people)


def _several(people: Sequence[Portrait], first: Portrait, rng: np.random.Generator) -> tuple[Portrait, ...]:
    """The first person with one or two others."""
    others = [p for p in people if p is not first]
    count = min(len(others), int(rng.integers(1, 3)))
    return first, *(others[k] for k in rng.permutation(len(others))[:count])
