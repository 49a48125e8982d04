"""A small world of scores and pictures whose numbers are known by construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmidd.schema import ForgeryType
from mmidd.spec import PreprocessSpec

SPEC = PreprocessSpec.model_validate({})

TYPES = ["REAL", "FS", "FR", "EFS", "FE"]


@dataclass(frozen=True)
class FakeSample:
    key: str
    image: NDArray[np.uint8]
    row: dict[str, Any]


class FakeSamples:
    """Crops whose red channel over 255 is the score a `FakeRun` gives them."""

    def __init__(self, split: str, videos: int, seed: int, frames: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.samples: list[FakeSample] = []
        for video in range(videos):
            kind = TYPES[video % len(TYPES)]
            centre = rng.normal(100 if kind == "REAL" else 100 + 25 * (video % len(TYPES)), 30)
            for frame in range(frames):
                red = int(np.clip(centre + rng.normal(0, 10), 0, 255))
                green, blue = (int(v) for v in rng.integers(0, 255, 2))
                image = np.full((64, 64, 3), (red, green, blue), np.uint8)
                self.samples.append(
                    FakeSample(f"{split}{video:03d}f{frame}", image, _row(split, video, frame, kind))
                )

    @property
    def rows(self) -> pl.DataFrame:
        return pl.DataFrame({"key": [sample.key for sample in self.samples]})

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> FakeSample:
        return self.samples[index]


def _row(split: str, video: int, frame: int, kind: str) -> dict[str, Any]:
    return {
        "source": "ff++" if video % 2 else "celebdf",
        "method": None if kind == "REAL" else f"method-{kind}{video % 2}",
        "type": kind,
        "compression": "c23",
        "split": split,
        "video_id": f"{split}/{video:03d}",
        "identity_ids": [f"person{video // 2}", f"other{video}"],
        "frame_index": frame * 10,
        "face_index": 0,
        "label": "real" if kind == "REAL" else "fake",
    }


@dataclass(frozen=True)
class FakeScores:
    fake: NDArray[np.float32]
    types: NDArray[np.float32] | None
    maps: NDArray[np.float32] | None = None


class FakeRun:
    """P(fake) = mean red / 255; the type follows it."""

    def __init__(self, *, types: bool = True) -> None:
        self.types = types
        self.batches: list[int] = []

    def score(self, crops: Sequence[NDArray[np.uint8]]) -> FakeScores:
        self.batches.append(len(crops))
        fake = np.array([crop[..., 0].mean() / 255 for crop in crops], np.float32)
        if not self.types:
            return FakeScores(fake, None)
        types = np.zeros((len(crops), 5), np.float32)
        types[np.arange(len(crops)), np.clip((fake * 8 - 3).astype(int), 0, len(ForgeryType) - 1)] = 1
        return FakeScores(fake, types)
