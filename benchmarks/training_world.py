"""The samples of the training benchmark: as shards, as files, and as a batch in memory."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import simplejpeg
import torch

from benchmarks.blend_measures import portrait
from mmidd.schema import SAMPLES, ForgeryType
from mmidd.shards.writer import write_shards
from mmidd.spec import PreprocessSpec
from mmidd.training.data import Batch

TYPES = list(ForgeryType)
KEPT = 512
"""Different pictures; samples share them, captions and names they do not."""


@dataclass(frozen=True)
class Pictures:
    """JPEGs by sample id, for the writer of shards."""

    jpegs: list[bytes]

    @classmethod
    def draw(cls, count: int, size: int) -> Self:
        """Shifted copies of matplotlib's sample portrait, each with its own grain."""
        rng = np.random.default_rng(0)
        crop = portrait()[0].astype(np.float32)
        jpegs = []
        for _ in range(count):
            grain = rng.normal(0, 4, crop.shape)
            shifted = np.roll(crop, rng.integers(-20, 20, 2), axis=(0, 1)) * rng.uniform(0.7, 1.2) + grain
            picture = np.ascontiguousarray(shifted.clip(0, 255).astype(np.uint8)[:size, :size])
            jpegs.append(simplejpeg.encode_jpeg(picture, quality=95))
        return cls(jpegs)

    def image(self, row: Any, /) -> bytes:
        """See `Blobs`."""
        return self.jpegs[int(row["sample_id"], 16) % len(self.jpegs)]

    def of(self, rows: Any, /) -> Self:
        """See `Blobs`."""
        return self

    def mask(self, row: Any, /) -> bytes:
        """See `Blobs`."""
        raise KeyError(row["sample_id"])


@dataclass(frozen=True)
class World:
    """A folder with `shards`, `files` and `samples.json`, the samples of the files."""

    root: Path

    @property
    def shards(self) -> Path:
        """What mmidd trains on."""
        return self.root / "shards"

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """`file`, `label`, `type`, `face` and `environment` of each training sample."""
        found: list[dict[str, Any]] = json.loads((self.root / "samples.json").read_text(encoding="utf-8"))
        return found


def build(root: Path, count: int, size: int) -> World:
    """Write `count` training samples of `size` pixels, and a few to validate on."""
    pictures = Pictures.draw(min(count, KEPT), size)
    rows = [_row(number, "train") for number in range(count)]
    rows += [_row(count + number, "val") for number in range(8)]
    spec = PreprocessSpec.model_validate({"size": size})
    for row in rows:
        blob = pictures.image(row)
        row |= {"length": len(blob), "sha256": hashlib.sha256(blob).hexdigest(), "spec_id": spec.spec_id}
    types = pl.DataFrame(SAMPLES.empty_table()).schema | {"face": pl.String(), "environment": pl.String()}
    frame = pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=types)
    write_shards(frame, pictures, root / "shards", spec=spec)
    (root / "files").mkdir()
    for number, jpeg in enumerate(pictures.jpegs):
        (root / "files" / f"{number}.jpg").write_bytes(jpeg)
    keys = ("label", "type", "face", "environment")
    samples = [
        {"file": f"{number % len(pictures.jpegs)}.jpg"} | {key: row[key] for key in keys}
        for number, row in enumerate(rows[:count])
    ]
    (root / "samples.json").write_text(json.dumps(samples), encoding="utf-8")
    return World(root)


def _row(number: int, split: str) -> dict[str, Any]:
    kind = TYPES[(number // 2) % (len(TYPES) - 1) + 1] if number % 2 else TYPES[0]
    return {
        "unit_id": "u",
        "attempt": 0,
        "status": "ok",
        "sample_id": f"{number:032x}",
        "source": "ffhq",
        "label": "fake" if number % 2 else "real",
        "type": kind.value,
        "video_id": f"v{number}",
        "split": split,
        "encoding": "jpeg",
        "face": face_caption(number),
        "environment": environment_caption(number),
    }


def face_caption(number: int) -> str:
    """A sentence as long as those of a captioner, of one sample alone."""
    return (
        f"face number {number} of a person of about {20 + number % 50} years with short dark hair, thick "
        "eyebrows and a slight smile, looking to the left of the camera, chin raised, lips closed"
    )


def environment_caption(number: int) -> str:
    """As `face_caption`, of the background."""
    return (
        f"place number {number}, an office with a blurred window behind and {number % 9} lamps, soft light "
        "from the upper right, warm colours, little contrast, no text and no other people to be seen"
    )


def memory_batch(count: int, size: int) -> Batch:
    """Random pixels with the labels and captions of the first samples."""
    generator = torch.Generator().manual_seed(0)
    rows = [_row(number, "train") for number in range(count)]
    names = tuple(row["sample_id"] for row in rows)
    return Batch(
        images=torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator),
        label=torch.tensor([row["label"] == "fake" for row in rows]).long(),
        type=torch.tensor([ForgeryType(row["type"]).index for row in rows]),
        face_caption=tuple(row["face"] for row in rows),
        environment_caption=tuple(row["environment"] for row in rows),
        sample_id=names,
        video_id=names,
    )
