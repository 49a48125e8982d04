"""Write the samples of a manifest into POSIX tar shards, byte-identical when repeated.

Which shard a sample goes to is the leading bits of hash(seed, sample_id), and the order inside
a shard is that hash: a global shuffle in which a changed row changes only its own shard, as
long as the number of shards of the split (a power of two chosen by size) stays the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmidd import schema
from mmidd.errors import DataError, StorageError, TooManyFailures, UsageError
from mmidd.schema import Split
from mmidd.shards.index import (
    ENTRIES,
    INDEX_FILE,
    LABEL_COLUMNS,
    REJECTED,
    REJECTED_FILE,
    SAMPLES_FILE,
    SHARD_NAME,
    Shard,
    ShardIndex,
)
from mmidd.spec import PreprocessSpec

TARGET_BYTES = 256 * 2**20
"""Upper mark of the mean shard size; webdataset's documentation advises 100 MB to 1 GB."""

EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""File extension of each crop encoding."""

_KEY = r"^[0-9a-z][0-9a-z_-]{0,89}$"
_OVERHEAD = 4096  # allowance per sample for two tar headers, the JSON and padding
_NOT_CONTENT = {column.name for column in schema.LEDGER} | {
    "pack",
    "offset",
    "length",
    "mask_offset",
    "mask_length",
}

Row = dict[str, Any]
ReadBlob = Callable[[Row], bytes | bytearray | memoryview]


@dataclass(frozen=True)
class ShardSummary:
    """What `write_shards` wrote.

    Attributes:
        out: the folder of shards.
        shards: tar files written.
        bytes: their total size.
        samples: samples by split.
        rejected: manifest rows left out, by reason; `rejected.parquet` names each.
    """

    out: Path
    shards: int
    bytes: int
    samples: dict[str, int]
    rejected: dict[str, int]

    @property
    def failed_share(self) -> float:
        """Share of the given rows that were left out, in [0, 1]."""
        failed = sum(self.rejected.values())
        return failed / (failed + sum(self.samples.values()))


def write_shards(
    samples: pl.DataFrame,
    read: ReadBlob,
    out: Path,
    *,
    spec: PreprocessSpec,
    seed: int = 0,
    target_bytes: int = TARGET_BYTES,
    on_progress: Callable[[int, int], None] | None = None,
) -> ShardSummary:
    """Write every sample with its metadata into the shards of its split.

    Everything is written beside `out` and moved into place when complete, the index last. A
    write that fails or is killed before that leaves the previous shards as they were.

    Args:
        samples: rows of schema.SAMPLES, optionally with the captions `face` and `environment`
            and the columns of simulations; each column but those of the ledger and of the
            placement in packs goes into the sample's JSON.
        read: gives the encoded image of a row; its OSError or DataError rejects the row.
        out: the folder of shards.
        spec: preprocessing that made the crops.
        seed: seed of the global shuffle.
        target_bytes: upper mark of the mean shard size.
        on_progress: called with (rows done, rows in all) after each row.

    Raises:
        UsageError: `samples` is empty or lacks columns.
        TooManyFailures: no row could be written; the previous shards stay.
        StorageError: not enough room, or the folder cannot be written.
    """
    _check_columns(samples)
    good, rejected = _screen(samples, spec)
    ordered = _shuffled(good, seed)
    tick = _ticker(on_progress, len(samples), done=len(rejected))
    with _staging(out, _expected_bytes(ordered)) as stage:
        draft = _Draft(stage, read, rejected, tick)
        for split in Split:
            part = ordered.filter(pl.col("split") == split.value)
            for number, rows in enumerate(_shards_of(part, target_bytes)):
                draft.add_shard(split, number, rows)
        if not draft.entries:
            raise TooManyFailures(f"no sample could be sharded ({_reasons(draft.rejected)}); see `mmidd verify`")
        index = draft.finish(ordered, spec, seed)
        _commit(stage, out, index)
    per_split = {split.value: sum(shard.samples for shard in index.of_split(split)) for split in Split}
    return ShardSummary(
        out=out,
        shards=len(index.shards),
        bytes=sum(shard.bytes for shard in index.shards),
        samples={split: count for split, count in per_split.items() if count},
        rejected=index.rejected,
    )


@dataclass(frozen=True)
class _Rejected:
    sample_id: str
    split: str | None
    reason: str
    detail: str


@dataclass
class _Draft:
    """The shards of one run while they are written into the staging folder."""

    stage: Path
    read: ReadBlob
    rejected: list[_Rejected]
    tick: Callable[[], None]
    shards: list[Shard] = field(default_factory=list)
    entries: list[tuple[str, str, int, int, int, int]] = field(default_factory=list)

    def add_shard(self, split: Split, number: int, rows: pl.DataFrame) -> None:
        """Write one tar; rows without a sound image are rejected."""
        name = f"{split.value}-{number:05d}.tar"
        sources, types = Counter[str](), Counter[str]()
        with _TarFile(self.stage / name) as tar:
            for row in rows.iter_rows(named=True):
                try:
                    self.entries.append((row["sample_id"], name, *_add_sample(tar, row, self.read)))
                    sources[row["source"]] += 1
                    types[row["type"]] += 1
                except DataError as error:
                    self.rejected.append(_Rejected(row["sample_id"], split.value, error.reason, error.detail))
                self.tick()
        self.shards.append(
            Shard(
                name=name,
                split=split,
                sha256=tar.sha256,
                bytes=tar.size,
                samples=sources.total(),
                by_source=dict(sorted(sources.items())),
                by_type=dict(sorted(types.items())),
            )
        )

    def finish(self, ordered: pl.DataFrame, spec: PreprocessSpec, seed: int) -> ShardIndex:
        """Write the tables and, last, the index."""
        places = pl.DataFrame(self.entries, schema=ENTRIES.names[:6], orient="row")
        labels = ordered.select("sample_id", *LABEL_COLUMNS)
        entries = places.join(labels, left_on="key", right_on="sample_id", how="left", maintain_order="left")
        _write_parquet(entries.select(ENTRIES.names).to_arrow().cast(ENTRIES), self.stage / SAMPLES_FILE)
        rejected = sorted(self.rejected, key=lambda item: (item.sample_id or "", item.reason))
        table = pa.Table.from_pylist([vars(item) for item in rejected], schema=REJECTED)
        _write_parquet(table, self.stage / REJECTED_FILE)
        with (self.stage / SAMPLES_FILE).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        index = ShardIndex(
            spec=spec,
            spec_id=spec.spec_id,
            seed=seed,
            samples=len(self.entries),
            samples_sha256=digest,
            rejected=dict(sorted(Counter(item.reason for item in rejected).items())),
            shards=tuple(self.shards),
        )
        index.save(self.stage)
        return index


class _TarFile:
    """A USTAR file whose bytes depend only on the members' names and data."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> _TarFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if error is None:
                end = 2 * tarfile.BLOCKSIZE
                self._write(bytes(end + -(self.size + end) % tarfile.RECORDSIZE))
                self._file.flush()
                os.fsync(self._file.fileno())

    def add(self, name: str, data: bytes | bytearray | memoryview) -> int:
        """Append a member and return the offset of its data."""
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(data), 0o644
        self._write(header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
        offset = self.size
        self._write(data)
        self._write(bytes(-len(data) % tarfile.BLOCKSIZE))
        return offset

    @property
    def sha256(self) -> str:
        """SHA-256 of everything written so far."""
        return self._hash.hexdigest()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)


def _add_sample(tar: _TarFile, row: Row, read: ReadBlob) -> tuple[int, int, int, int]:
    """Append a sample's two members; gives offset and length of the image and of the JSON."""
    try:
        image = read(row)
    except OSError as error:
        raise DataError("unreadable", str(error)) from error
    if hashlib.sha256(image).hexdigest() != row["sha256"]:
        raise DataError("wrong_hash", "the stored image differs from its manifest row")
    content = {column: value for column, value in row.items() if column not in _NOT_CONTENT}
    text = canonical_json(content)
    image_offset = tar.add(f"{row['sample_id']}.{EXTENSIONS[row['encoding']]}", image)
    return image_offset, len(image), tar.add(f"{row['sample_id']}.json", text), len(text)


def canonical_json(row: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON with sorted keys and no white space.

    Raises:
        DataError: a value is not finite or not JSON.
    """
    try:
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise DataError("not_json", str(error)) from error
    return text.encode()


def _check_columns(samples: pl.DataFrame) -> None:
    needed = {"sample_id", "length", "sha256", "encoding", "spec_id", *LABEL_COLUMNS}
    if missing := sorted(needed - set(samples.columns)):
        raise UsageError(f"samples lack the columns {', '.join(missing)}; pass rows of schema.SAMPLES")
    if samples.is_empty():
        raise UsageError("there are no samples to shard; run `mmidd ingest` first")


def _screen(samples: pl.DataFrame, spec: PreprocessSpec) -> tuple[pl.DataFrame, list[_Rejected]]:
    """Part rows that may be written from rows whose columns already rule them out."""
    faults = {
        "bad_key": ~pl.col("sample_id").str.contains(_KEY),
        "duplicate_key": pl.col("sample_id").is_duplicated(),
        "bad_split": ~pl.col("split").is_in([split.value for split in Split]),
        "bad_encoding": ~pl.col("encoding").is_in(list(EXTENSIONS)),
        "other_spec": pl.col("spec_id") != spec.spec_id,
        "incomplete": pl.any_horizontal(pl.col("source", "type", "length", "sha256").is_null()),
    }
    reason = pl.coalesce(
        pl.when(fault.fill_null(value=True)).then(pl.lit(name)) for name, fault in faults.items()
    )
    marked = samples.with_columns(reason.alias("__reason"))
    bad = marked.filter(pl.col("__reason").is_not_null()).select("sample_id", "split", "__reason")
    rejected = [_Rejected(key, split, reason, "") for key, split, reason in bad.iter_rows()]
    return marked.filter(pl.col("__reason").is_null()).drop("__reason"), rejected


def _shuffled(samples: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Rows in hash order with the hash as column `__hash`, 32-bit floats as their short decimals."""
    digest = pl.Series("__hash", [_hash(seed, key) for key in samples["sample_id"]], dtype=pl.UInt64)
    short = [
        pl.col(name).cast(text).cast(wide)
        for name, dtype in samples.schema.items()
        if (text := _retyped(dtype, pl.String)) is not None and (wide := _retyped(dtype, pl.Float64))
    ]
    return samples.with_columns(digest, *short).sort("__hash", "sample_id")


def _hash(seed: int, sample_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{sample_id}".encode(), digest_size=8).digest(), "big")
