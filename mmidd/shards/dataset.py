"""Read samples from shards by index, in any order and from any number of processes."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from mmidd.errors import DataError, MmiddError, UsageError
from mmidd.schema import Simulated, Split
from mmidd.shards.decode import decode_image, decode_json, decode_mask
from mmidd.shards.entries import Entries, mapped
from mmidd.shards.index import ENTRIES, SAMPLES_FILE, Shard, ShardIndex
from mmidd.shards.reading import Indices, Needs, read_ahead
from mmidd.shards.sampling import encode
from mmidd.shards.tar import Span, read_record
from mmidd.spec import PreprocessSpec
from mmidd.storage import Cache, Folder, open_folder

_OPEN_FILES = 128
"""Shards that a process holds open; the one not read for longest is closed."""
_OPEN_CACHED = 2
"""The same of cached ones, which cannot be evicted meanwhile."""

_COLUMNS = [name for name in ENTRIES.names if name not in Span.__dataclass_fields__]


@dataclass(frozen=True)
class ShardSample:
    """One sample: its key, RGB image uint8 (H, W, 3), and its manifest row with captions.

    A simulated forgery has its soft mask too, uint8 (H, W).
    """

    key: str
    image: NDArray[np.uint8]
    row: dict[str, Any]
    mask: NDArray[np.uint8] | None = None


@dataclass
class _OpenShards:
    """Descriptors of the shards read last; a cached one stays in the cache as long as it is open."""

    most: int
    files: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def __reduce__(self) -> tuple[type[_OpenShards], tuple[int]]:
        return type(self), (self.most,)

    def __del__(self) -> None:
        for file in self.files.values():
            os.close(file)

    def get(self, name: str) -> int | None:
        """An open shard."""
        if name in self.files:
            self.files.move_to_end(name)
        return self.files.get(name)

    def keep(self, name: str, file: BinaryIO) -> int:
        """Take over an open shard, and close another where there are too many."""
        with file:
            self.files[name] = os.dup(file.fileno())
        if len(self.files) > self.most:
            os.close(self.files.popitem(last=False)[1])
        return self.files[name]


class ShardDataset:
    """The samples of one split, map style; it pickles, and fetches and opens shards when first read.

    Args:
        where: the folder of shards, a path or any URL that fsspec reads.
        split: which samples to read.
        simulated: whether self-blended forgeries and their pristine twins are among them.
        cache: where shards from afar, and the mapped table of samples, are kept.

    Raises:
        UsageError: the folder has no index that this version reads, or cannot be reached.
    """

    def __init__(
        self,
        where: Path | str,
        split: Split,
        simulated: Simulated = Simulated.INCLUDE,
        cache: Cache | None = None,
    ) -> None:
        self.cache = cache or Cache.default()
        self.folder = open_folder(where, self.cache)
        self.split, self._simulated = split, simulated
        self.index = ShardIndex.load(self.folder)
        path = _table(self.folder, self.index, self.cache)
        self._entries = Entries(path, *_rows_of(self.index, split), simulated)
        self._files = _OpenShards(_OPEN_CACHED if self.folder.remote else _OPEN_FILES)
        self._unusable: dict[str, DataError] = {}

    @property
    def spec(self) -> PreprocessSpec:
        """Preprocessing that made the crops."""
        return self.index.spec

    @property
    def side(self) -> int:
        """Of the crops, in pixels."""
        return self.spec.size

    @property
    def rows(self) -> pl.DataFrame:
        """Keys and label columns, one row per sample, in the order of the indices."""
        return self._entries.frame(_COLUMNS)

    def column(self, name: str) -> pa.ChunkedArray:
        """One of the columns of `rows`."""
        return self._entries.column(name)

    def at(self, epoch: int) -> ShardDataset:
        """The samples, which are the same in every epoch."""
        return self

    @property
    def identity(self) -> str:
        """Tells data apart: what the index names, and which of it is read."""
        return f"{self.index.samples_sha256} {self.split} {self._simulated}"

    def reading(self, batches: Iterator[Indices]) -> AbstractContextManager[Needs]:
        """Entered while these batches are read: a remote folder's shards are fetched before their turn."""
        if not self.folder.remote:
            return nullcontext(lambda _: None)
        names, shard_of = encode(self.column("shard"))
        return read_ahead(self.folder, [self.shards[name] for name in names], shard_of, batches)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> ShardSample:
        """Read and decode one sample; see `read`."""
        return self.read(index)

    def read(self, index: int, out: NDArray[np.uint8] | None = None) -> ShardSample:
        """Read and decode one sample; `out` is where its image may be decoded to, see `decode_image`.

        Raises:
            DataError: the record is damaged; names shard and key.
            IndexError: there is no such sample.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        key, shard, span = self._entries.at(index % len(self))
        try:
            record = read_record(self._open(shard), key, span)
            return ShardSample(key, decode_image(record, out), decode_json(record), decode_mask(record))
        except DataError as error:
            raise DataError(
                error.reason, f"sample {key} in {self.folder.where}/{shard}: {error.detail}"
            ) from error

    @cached_property
    def shards(self) -> dict[str, Shard]:
        """The shards of the split by name."""
        return {shard.name: shard for shard in self.index.of_split(self.split)}

    def _open(self, name: str) -> int:
        if why := self._unusable.get(name):
            raise DataError(why.reason, why.detail)
        if (opened := self._files.get(name)) is not None:
            return opened
        shard = self.shards[name]
        try:
            file = self.folder.open(name, size=shard.bytes, sha256=shard.sha256)
        except DataError as error:
            if error.reason == "unreachable":
                raise MmiddError(f"{error.detail}; run the same command again when it answers") from error
            self._unusable[name] = error
            raise
        return self._files.keep(name, file)


def read_rows(where: Path | str) -> pl.DataFrame:
    """`ShardDataset.rows` of all splits together.

    Raises:
        UsageError: see `ShardDataset`.
    """
    cache = Cache.default()
    folder = open_folder(where, cache)
    index = ShardIndex.load(folder)
    entries = Entries(_table(folder, index, cache), 0, index.samples, Simulated.INCLUDE)
    return entries.frame(_COLUMNS)


def _table(folder: Folder, index: ShardIndex, cache: Cache) -> Path:
    """The table of samples, mapped; of a remote folder only the Arrow file is kept."""
    sha256 = index.samples_sha256

    def fetch() -> Path:
        return folder.fetch(SAMPLES_FILE, size=index.samples_bytes, sha256=sha256)

    try:
        return mapped(fetch, sha256, cache.root)
    except DataError as error:
        raise UsageError(f"{error}; copy the folder of shards again, or run `mmidd shard` again") from None


def _rows_of(index: ShardIndex, split: Split) -> tuple[int, int]:
    """First and last row of a split: the table is in the order of the shards, and these are by split."""
    counts = [(shard.samples, shard.split) for shard in index.shards]
    start = sum(n for n, of in counts if list(Split).index(of) < list(Split).index(split))
    return start, start + sum(n for n, of in counts if of is split)
