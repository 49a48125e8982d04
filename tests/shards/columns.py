"""Label columns without samples, for plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mmidd.shards.index import ENTRIES


@dataclass(frozen=True)
class MemoryColumns:
    """Columns given as lists; what is not given is null."""

    given: dict[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.given.values())))

    def column(self, name: str) -> pa.ChunkedArray:
        values = list(self.given.get(name, [None] * len(self)))
        half = len(values) // 2  # several chunks, as in a file
        return pa.chunked_array([values[:half], values[half:]], type=ENTRIES.field(name).type)


def columns(**given: Sequence[Any]) -> MemoryColumns:
    return MemoryColumns(given)
