"""What a stage works on and what it gives back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from mmidd.schema import Status


def content_id(*keys: object) -> str:
    """32 hex digits of the SHA-256 of the keys' canonical JSON; the same on every machine."""
    text = json.dumps(keys, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Unit:
    """The smallest thing a stage does or does not do: one video, one image, one sample.

    Attributes:
        unit_id: hash of the unit's content keys and of the stage's spec.
        name: what progress and summaries call it.
        payload: what the worker needs; it is pickled.
        columns: column values that a failure row of this unit carries.
    """

    unit_id: str
    name: str
    payload: Any
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Blob:
    """Bytes that a row stores in the pack; `prefix` names its columns, as in `mask_offset`."""

    data: bytes
    suffix: str
    prefix: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a part, without the ledger columns that the engine fills in."""

    columns: Mapping[str, Any]
    status: Status = Status.OK
    reason: str | None = None
    detail: str | None = None
    blobs: tuple[Blob, ...] = ()


Outcome = tuple[Unit, list[Row]]


class Pool(Protocol):
    """Turns units into rows; a context manager, so that nothing is left running."""

    def __enter__(self) -> Pool: ...
    def __exit__(self, *_: object) -> None: ...
    def run(self, units: Iterable[Unit]) -> Iterator[Outcome | None]:
        """Outcomes as they finish, None at least twice a second meanwhile."""


@dataclass(frozen=True)
class Stage:
    """A stage: its table's schema, and the function that runs in the workers.

    Attributes:
        name: shown in progress and summaries.
        schema: Arrow schema of the rows; begins with `schema.LEDGER`.
        work: picklable function from a unit's payload to its rows. It raises
            `DataError` for data it cannot use; any other exception is a failed unit too.
        totals: integer columns that the summary adds up.
        pool: makes what runs the units; None for worker processes that run `work`.
    """

    name: str
    schema: pa.Schema
    work: Callable[[Any], list[Row]] | None = None
    totals: tuple[str, ...] = ()
    pool: Callable[[], Pool] | None = None
