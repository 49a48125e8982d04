"""Small in-memory samples and configurations for the training tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mmidd.schema import ForgeryType, Split
from mmidd.shards.index import ENTRIES
from mmidd.shards.reading import Indices, Needs
from mmidd.training.config import TrainConfig, apply_overrides, load_preset
from mmidd.training.data import Batch, TrainingData, as_batch, train_stream

SMALL = [
    "backbone.shape={embed_dim: 16, stem: patch, "
    "vision: {image_size: 32, patch_size: 8, width: 32, layers: 2, head_width: 16}, "
    "text: {context_length: 16, width: 16, heads: 2, layers: 1}}",
    "batch=8",
    "micro_batch=8",
    "epochs=2",
    "max_steps=null",
    "workers=0",
    "sampling={by: [label]}",
    "augment={}",
]

PLAIN_SENTENCES = [
    "a photo of a real face",
    "a photo of a swapped face",
    "a photo of a reenacted face",
    "a photo of an entirely synthesized face",
    "a photo of an edited face",
]
"""What images are compared with, in the order of the types."""


def small_config(method: str, *overrides: str) -> TrainConfig:
    extra = ["adapter=literal", "adapter_width=16", "clam_heads=2"] if method == "sd2" else []
    return apply_overrides(load_preset(method, "tiny"), [*SMALL, *extra, *overrides])


@dataclass(frozen=True)
class MemorySample:
    key: str
    image: NDArray[np.uint8]
    row: dict[str, Any]
    mask: NDArray[np.uint8] | None = None


class MemorySamples:
    """`videos` videos of two frames; a fake carries a bright square at a place told by its type."""

    def __init__(self, split: Split, videos: int, captions: bool = True, kinds: int = 5) -> None:
        self.split = split
        self.samples = [
            self._sample(split, n, frame, captions, kinds) for n in range(videos) for frame in (0, 1)
        ]
        columns = ("key", "label", "type", "video_id", "pair_id", "frame_index")
        self.rows = pl.DataFrame([{name: sample.row[name] for name in columns} for sample in self.samples])

    side = 48

    @property
    def identity(self) -> str:
        return " ".join(self.rows["key"])

    def at(self, epoch: int) -> Self:
        return self

    def column(self, name: str) -> pa.ChunkedArray:
        return pa.chunked_array([self.rows[name].to_arrow()]).cast(ENTRIES.field(name).type)

    def reading(self, batches: Iterator[Indices]) -> AbstractContextManager[Needs]:
        return nullcontext(lambda _: None)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> MemorySample:
        return self.samples[index]

    @staticmethod
    def _sample(split: Split, number: int, frame: int, captions: bool, kinds: int) -> MemorySample:
        rng = np.random.default_rng([len(split.value), number, frame])
        image = rng.integers(0, 120, (48, 48, 3), dtype=np.uint8)
        kind = list(ForgeryType)[number % kinds]
        if kind is not ForgeryType.REAL:
            image[12:36, 6 * kind.index : 6 * kind.index + 12] = 250
        key = f"{split.value}-{number:03d}-{frame}"
        row: dict[str, Any] = {
            "key": key,
            "label": "real" if kind is ForgeryType.REAL else "fake",
            "type": kind.value,
            "video_id": f"{split.value}-{number:03d}",
            "pair_id": f"pair {number // kinds}",
            "frame_index": frame,
        }
        if captions:
            row |= {"face": f"face number {number}", "environment": f"room {number % 3}"}
        return MemorySample(key, image, row)


def memory_data(videos: int = 10, captions: bool = True) -> TrainingData:
    return TrainingData(
        MemorySamples(Split.TRAIN, videos, captions), MemorySamples(Split.VAL, videos, captions)
    )


def random_batch(n: int, size: int, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    kind = torch.arange(n) % 5
    return Batch(
        images=torch.randint(0, 256, (n, size, size, 3), generator=rng).to(torch.uint8),
        label=(kind > 0).long(),
        type=kind,
        face_caption=tuple(f"face {i % (n - 1)}" for i in range(n)),
        environment_caption=tuple(f"room {i}" for i in range(n)),
        sample_id=tuple(str(i) for i in range(n)),
        video_id=tuple(str(i) for i in range(n)),
    )


def epoch_of(data: TrainingData, config: TrainConfig, epoch: int, start: int = 0) -> list[Batch]:
    """The batches of an epoch from number `start` on."""
    assert config.backbone.shape
    with train_stream(data, config, config.backbone.shape.vision.image_size) as stream:
        stream.load_state_dict({**stream.state_dict(), "epoch": epoch, "step": start})
        return [as_batch(loaded) for loaded in stream]
