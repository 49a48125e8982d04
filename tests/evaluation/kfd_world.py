"""Crops with masks, and runs that mark pixels and answer by what the crops say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from mmidd.dialogue.reading import first_word
from mmidd.schema import Label
from tests.evaluation.evaluation_world import FakeScores

SIDE = 16
REGIONS = ("left eye", "right eye", "nose", "nose ridge", "mouth")


@dataclass(frozen=True)
class MaskedSample:
    key: str
    image: NDArray[np.uint8]
    row: dict[str, Any]
    mask: NDArray[np.uint8] | None


class MaskedSamples:
    """Videos of two frames by five people; every other video is a forgery with a noisy mask.

    The green channel is what a `MapRun` takes for P(forged) of pixels, the red one its score.
    """

    def __init__(self, split: str, videos: int = 20, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, len(split)])
        self.samples = [
            self._sample(rng, split, number, frame) for number in range(videos) for frame in (0, 1)
        ]

    @property
    def rows(self) -> pl.DataFrame:
        return pl.DataFrame({"key": [sample.key for sample in self.samples]})

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> MaskedSample:
        return self.samples[index]

    @staticmethod
    def _sample(rng: np.random.Generator, split: str, number: int, frame: int) -> MaskedSample:
        fake = number % 2 == 1
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if fake:
            top, left = rng.integers(0, SIDE // 2, 2)
            mask[top : top + 8, left : left + 6] = rng.integers(60, 256, (8, 6))
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        image[..., 0] = np.clip(rng.normal(150 if fake else 110, 40), 0, 255)
        image[..., 1] = np.clip(mask * rng.uniform(0.3, 0.9) + rng.normal(60, 40, mask.shape), 0, 255)
        image[..., 2] = rng.integers(0, 256)
        row: dict[str, Any] = {
            "source": "ff++",
            "label": "fake" if fake else "real",
            "type": "FE" if fake else "REAL",
            "method": f"regional-{('alpha', 'poisson')[number // 2 % 2]}" if fake else None,
            "compression": "c23",
            "split": split,
            "video_id": f"{split}/{number}",
            "identity_ids": [f"person {number // 4}"],
            "frame_index": frame,
            "face_index": 0,
            "regions": list(rng.permutation(REGIONS)[: rng.integers(1, 4)]) if fake else [],
        }
        return MaskedSample(f"{split}-{number}-{frame}", image, row, mask if fake else None)


class MapRun:
    """P(fake) is red, P(forged) of a pixel green, over 255."""

    def score(self, crops: Sequence[NDArray[np.uint8]]) -> FakeScores:
        pictures = np.stack(crops).astype(np.float32) / 255
        return FakeScores(pictures[..., 0].mean(axis=(1, 2)), None, pictures[..., 1].astype(np.float32))


@dataclass(frozen=True)
class Said:
    text: str
    complete: bool
    label: Label | None


class Talker:
    """Its detector's score and its answers follow from the crop's blue channel."""

    def prepare(self, crops: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(crops))

    def evidence(self, images: torch.Tensor) -> Any:
        fake = images[:, 0, 0, 2].float() / 255
        return SimpleNamespace(scores=torch.stack([1 - fake, fake], dim=1))

    def answer(self, evidence: Any, talks: Sequence[Any]) -> list[Said]:
        assert len(talks) == len(evidence.scores)
        return [self._said(int(blue)) for blue in (evidence.scores[:, 1] * 255).round().tolist()]

    @staticmethod
    def _said(blue: int) -> Said:
        named = [REGIONS[(blue + 2 * step) % len(REGIONS)] for step in range(blue % 4)]
        start = ("Yes, it is a deepfake", "No, it is not", "Perhaps")[blue % 3]
        text = f"{start}: {', '.join(f'the {name}' for name in named)}."
        return Said(text, blue % 5 > 0, first_word(text))


class TalkingRun(MapRun):
    """A run of a language model."""

    def __init__(self) -> None:
        self.task = Talker()
