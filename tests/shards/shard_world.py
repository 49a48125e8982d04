from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import simplejpeg

from mmidd.schema import SAMPLES
from mmidd.shards.writer import ShardSummary, write_shards
from mmidd.spec import PreprocessSpec

TYPES = ("REAL", "FS", "FR")


@dataclass(frozen=True)
class Kept:
    """Images by key, and one mask for all who have one."""

    images: Mapping[str, bytes]
    masks: bytes = b""

    def image(self, row: Mapping[str, Any], /) -> bytes:
        return self.images[row["sample_id"]]

    def of(self, rows: Sequence[Mapping[str, Any]], /) -> Self:
        return self

    def mask(self, row: Mapping[str, Any], /) -> bytes:
        return self.masks


@dataclass(frozen=True)
class World:
    """A small manifest and the images its rows point at."""

    rows: pl.DataFrame
    blobs: dict[str, bytes]
    spec: PreprocessSpec

    masks: bytes = b""

    def write(self, out: Path, **options: Any) -> ShardSummary:
        blobs = Kept(self.blobs, self.masks)
        return write_shards(
            self.rows, blobs, out, spec=self.spec, **{"target_bytes": 64_000, "seed": 7} | options
        )

    def changed(self, sample_id: str, /, **values: Any) -> World:
        """The same world with other values in one row."""
        here = pl.col("sample_id") == sample_id
        updates = [
            pl.when(here)
            .then(pl.lit(value, dtype=self.rows.schema[name]))
            .otherwise(pl.col(name))
            .alias(name)
            for name, value in values.items()
        ]
        return replace(self, rows=self.rows.with_columns(updates))


def make_world(
    count: int = 60, split: Callable[[int], str] = lambda i: ("train", "val")[i % 5 == 0]
) -> World:
    rng, spec = np.random.default_rng(0), PreprocessSpec.model_validate({"size": 32})
    blobs, rows = {}, []
    for i in range(count):
        image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        blob = simplejpeg.encode_jpeg(image, quality=95, colorspace="RGB", colorsubsampling="444")
        key = hashlib.sha256(f"sample {i}".encode()).hexdigest()[:16]
        kind = TYPES[0 if i % 2 else 1 + i % 4 // 2]
        blobs[key] = blob
        rows.append(
            {
                "unit_id": f"unit{i // 4}",
                "attempt": 0,
                "status": "ok",
                "sample_id": key,
                "source": ("ff++", "ffhq")[i % 2],
                "label": "real" if kind == "REAL" else "fake",
                "type": kind,
                "video_id": f"video{i // 4}",
                "pair_id": f"video{i // 4}",
                "identity_ids": [f"id{i % 3}"],
                "frame_index": i,
                "face_index": 0,
                "split": split(i),
                "box": [0.1, 1.25, 30.7, 31.0],
                "landmarks": rng.random(136).astype(np.float32).tolist(),
                "spec_id": spec.spec_id,
                "encoding": "jpeg",
                "pack": "p.tar",
                "offset": 512 * i,
                "length": len(blob),
                "sha256": hashlib.sha256(blob).hexdigest(),
            }
        )
    types = pl.DataFrame(SAMPLES.empty_table()).schema
    frame = pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=types)
    captions = pl.Series(
        "face", [f"a face, n° {i}" if i % 3 else None for i in range(count)], dtype=pl.String
    )
    return World(frame.with_columns(captions, environment=pl.lit("indoors, dim light")), blobs, spec)
