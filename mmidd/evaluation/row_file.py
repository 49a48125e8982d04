"""Rows into a Parquet file, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from mmidd.files import TEMPORARY
from mmidd.schema import with_version

_ROW_GROUP = 8192

Row = dict[str, Any]


class RowFile:
    """A Parquet file that takes its name when the block ends well.

    An `optional` one is not there without rows; an older one then goes.
    """

    def __init__(self, path: Path, schema: pa.Schema, optional: bool = False) -> None:
        self._path, self._schema = path, with_version(schema)
        self._temporary = path.with_name(f"{TEMPORARY}{path.name}")
        self._writer = pq.ParquetWriter(self._temporary, self._schema)
        self._rows: list[Row] = []
        self._wanted = not optional

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                self._publish()
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows."""
        self._rows += rows
        self._wanted |= bool(self._rows)
        if len(self._rows) >= _ROW_GROUP:
            self._flush()

    def _publish(self) -> None:
        if self._wanted:
            self._temporary.replace(self._path)
        else:
            self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []
