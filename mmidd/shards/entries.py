"""The samples of a folder of shards without holding them: `samples.parquet` as a memory-mapped Arrow file.

Rows are mapped from the cache folder, so ranks and loader processes share them through the page cache, and
what a process holds does not grow with their number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmidd.errors import UsageError
from mmidd.files import renamed, sha256_of, write_errors
from mmidd.schema import Simulated
from mmidd.shards.index import ENTRIES
from mmidd.shards.tar import Span

_SPAN = tuple(Span.__dataclass_fields__)
_ROWS = 1 << 16  # per record batch, but the last
_KEPT_SECONDS = 30 * 24 * 3600


class Entries:
    """Rows of `index.ENTRIES`, in the order of the shards; it pickles as the path of its file.

    Args:
        path: an Arrow file made by `mapped`.
        start, stop: the rows it shows.
        simulated: whether self-blended forgeries and their pristine twins are among them.
    """

    def __init__(self, path: Path, start: int, stop: int, simulated: Simulated) -> None:
        self._path, self._start, self._stop, self._simulated = path, start, stop, simulated

    def __reduce__(self) -> tuple[type[Entries], tuple[Path, int, int, Simulated]]:
        return type(self), (self._path, self._start, self._stop, self._simulated)

    @cached_property
    def _table(self) -> pa.Table:
        return pa.ipc.open_file(pa.memory_map(str(self._path))).read_all()

    @cached_property
    def _batches(self) -> dict[str, list[Any]]:
        return {name: self._table[name].chunks for name in ("key", "shard", *_SPAN)}

    @cached_property
    def _rows(self) -> NDArray[np.int32] | None:
        """Row numbers where not all from start to stop are shown."""
        if self._simulated is Simulated.INCLUDE:
            return None
        from_source = pc.is_null(self._table["recipe"].slice(self._start, self._stop - self._start))
        shown = np.asarray(from_source) == (self._simulated is Simulated.EXCLUDE)
        return None if shown.all() else (self._start + np.flatnonzero(shown)).astype(np.int32)

    def __len__(self) -> int:
        return self._stop - self._start if self._rows is None else len(self._rows)

    def at(self, index: int) -> tuple[str, str, Span]:
        """Key, shard and place of a sample."""
        row = self._start + index if self._rows is None else int(self._rows[index])
        batch, place = divmod(row, _ROWS)
        key, shard, *span = (chunks[batch][place].as_py() for chunks in self._batches.values())
        return key, shard, Span(*span)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column, a row per sample."""
        if self._rows is not None:
            return self._table[name].take(pa.array(self._rows))
        return self._table[name].slice(self._start, self._stop - self._start)

    def frame(self, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns as a table, a row per sample."""
        return pl.DataFrame(pa.table({name: self.column(name) for name in columns}))


def mapped(fetch: Callable[[], Path], sha256: str, cache: Path) -> Path:
    """The Arrow file of a `samples.parquet`, made in the cache folder when first asked for.

    Args:
        fetch: gives the Parquet file, if that is needed.
        sha256: of the Parquet file.
        cache: the cache folder.

    Raises:
        UsageError: the Parquet file is missing, damaged, of another schema, or not what the index says.
        StorageError: the cache folder cannot be written.
    """
    target = cache / "index" / f"{sha256}.arrow"
    if target.is_file():
        target.touch()
        return target
    with write_errors(target.parent, "free space or set MMIDD_CACHE to another folder"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with renamed(target.parent, target.name) as temporary:
            _convert(fetch(), sha256, temporary)
        _forget(target.parent)
    return target


def _forget(folder: Path) -> None:
    """Remove files that nobody has used for a while; who has one mapped keeps it."""
    for path in folder.iterdir():
        if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
            path.unlink(missing_ok=True)


def _convert(parquet: Path, sha256: str, target: Path) -> None:
    try:
        found = sha256_of(parquet)
        source = pq.ParquetFile(parquet)
        same = source.schema_arrow.remove_metadata().equals(ENTRIES)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"cannot read {parquet} ({_line(error)}); run `mmidd shard` again") from None
    if found != sha256 or not same:
        what = "is not the one that index.json names" if found != sha256 else "has another schema"
        raise UsageError(f"{parquet} {what}; copy the folder of shards again, or run `mmidd shard` again")
    with source, pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, ENTRIES) as writer:
        held = ENTRIES.empty_table()
        for batch in source.iter_batches(_ROWS):
            held = pa.concat_tables([held, pa.table(batch).replace_schema_metadata(None).cast(ENTRIES)])
            while held.num_rows >= _ROWS:
                writer.write_table(held.slice(0, _ROWS).combine_chunks())
                held = held.slice(_ROWS)
        writer.write_table(held.combine_chunks(), _ROWS)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
