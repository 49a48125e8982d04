"""Features of a dataset's samples by a run, kept beside its weights until these or the data change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmidd.errors import DataError, UsageError
from mmidd.evaluation.evaluate import dataset_name
from mmidd.evaluation.look import BATCH
from mmidd.evaluation.scoring import about
from mmidd.files import renamed, sha256_of, write_errors
from mmidd.schema import SCORES, Simulated, Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.samples import Samples

FRAMES = 8
"""Of a video, whose features are much alike."""

_KEY, _FEATURES = b"mmidd_features", "features"
_VIDEO = ("source", "compression", "method", "video")


class Describer(Protocol):
    """What is used of a trained run."""

    def describe(self, crops: Sequence[NDArray[np.uint8]]) -> Any:
        """What has an `embedding` (B, C), a tensor, of RGB crops (H, W, 3) of any size."""


@dataclass(frozen=True)
class Embedded:
    """Features of N samples.

    Attributes:
        rows: what schema.SCORES has of them, without scores.
        values: (N, C).
    """

    rows: pl.DataFrame
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Embedder:
    """Features by a run; its networks are loaded when something is to be computed.

    Attributes:
        run_dir: folder of the trained run.
        device: torch device.
        frames: most of a video.
        batch: crops at once.
    """

    run_dir: Path
    device: str = "cpu"
    frames: int = FRAMES
    batch: int = BATCH

    @cached_property
    def _run(self) -> Any:
        from mmidd.training.trained import load_run

        return load_run(self.run_dir, self.device)

    @cached_property
    def _weights(self) -> str:
        from mmidd.training.trained import weights_file

        return sha256_of(weights_file(self.run_dir))

    def of(self, shards: Path | str, split: Split) -> Embedded:
        """Features of a split without simulations, of before if neither weights nor samples have changed.

        Raises:
            UsageError: no such run or shards, an empty split, or a method without features.
            SpecMismatch: the shards were cropped by another spec than the run was trained with.
            StorageError: they cannot be kept.
        """
        data = ShardDataset(shards, split, Simulated.EXCLUDE)
        if not len(data):
            raise UsageError(f"{shards} has no {split} split to take features of; pass other shards")
        key = {"weights": self._weights, "samples": data.index.samples_sha256, "frames": self.frames}
        file = self.run_dir / _FEATURES / f"{dataset_name(shards)}-{split}.parquet"
        if file.is_file() and _key_of(file) == key:
            return _read(file)
        self._run.spec.check_shards(data.spec, self.run_dir)
        found = embed(self._run, data, self.frames, self.batch)
        _write(file, found, key)
        return found


def embed(run: Describer, data: Samples, frames: int = FRAMES, batch: int = BATCH) -> Embedded:
    """Features of up to so many frames of every video, evenly apart.

    Raises:
        DataError: a feature is not finite, or a sample is damaged.
    """
    chosen = spread(data.rows, frames)
    rows: list[dict[str, Any]] = []
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(chosen), batch):
        samples = [data[index] for index in chosen[start : start + batch]]
        found = run.describe([sample.image for sample in samples]).embedding.cpu().numpy()
        if not np.isfinite(found).all():
            raise DataError("bad_features", f"not finite, near sample {samples[0].key}; train the run again")
        parts.append(found)
        rows += map(about, samples)
    types = pl.DataFrame(SCORES.empty_table()).drop("score").schema
    return Embedded(pl.DataFrame(rows, schema=types), np.concatenate(parts))


def spread(rows: pl.DataFrame, frames: int) -> list[int]:
    """Indices of rows, ascending, of up to so many of every video, evenly apart in time.

    A video is what `tables.items` takes for one.
    """
    place, count = (part.over(_VIDEO) for part in (pl.int_range(pl.len()), pl.len().cast(pl.Int64)))
    ordered = (
        rows.with_row_index("row")
        .with_columns(video=pl.coalesce("video_id", "key"))
        .sort("frame_index", "face_index", "key")
        .with_columns(place=place, count=count)
    )
    at, before = (
        pl.col("place") * frames // pl.col("count"),
        (pl.col("place") - 1) * frames // pl.col("count"),
    )
    return sorted(ordered.filter(at > before)["row"].to_list())


def _key_of(file: Path) -> dict[str, Any] | None:
    try:
        stored = (pq.read_schema(file).metadata or {}).get(_KEY)
    except pa.ArrowException:
        raise UsageError(f"{file} is damaged; remove it and run the same command again") from None
    return None if stored is None else dict(json.loads(stored))


def _read(file: Path) -> Embedded:
    table = pl.DataFrame(pq.read_table(file))
    return Embedded(table.drop(_FEATURES), table[_FEATURES].to_numpy())


def _write(file: Path, found: Embedded, key: dict[str, Any]) -> None:
    columns = pl.Series(_FEATURES, found.values, dtype=pl.Array(pl.Float32, found.values.shape[1]))
    table = found.rows.with_columns(columns).to_arrow()
    with write_errors(file, "free space and run the same command again"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with renamed(file.parent, file.name) as partial:
            pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(key)}), partial)
