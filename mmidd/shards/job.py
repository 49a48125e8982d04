"""One shard: what it is written from, and how a worker writes it into the staging folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import polars as pl

from mmidd.engine import Row
from mmidd.engine.ledger import storage_errors
from mmidd.errors import DataError, StorageError
from mmidd.files import renamed, sha256_of
from mmidd.schema import Status
from mmidd.shards.blobs import PLACE_COLUMNS, Blobs, Bytes
from mmidd.shards.content import json_of
from mmidd.shards.layout import EXTENSIONS
from mmidd.shards.staging import ENTRY, Staged
from mmidd.shards.tar import MASK_EXTENSION, Buffer, Span
from mmidd.shards.tar_writer import TarWriter

STORAGE = "storage"
"""Reason of a shard that the disk would not take."""

_FORMAT = "mmidd shard 1"  # part of every unit id: change it with the bytes that the same rows give
_AT_A_TIME = 256  # rows whose bytes are asked for together
_PLACES = attrgetter(*Span.__dataclass_fields__)
_COLUMNS = ("sample_id", "encoding", "sha256", "mask_sha256", *PLACE_COLUMNS)


@dataclass(frozen=True)
class Job:
    """A shard to write.

    Attributes:
        name: the tar's file name.
        rows: what goes into it, in order.
        blobs: where images and masks come from.
        stage: the staging folder.
        finished: a file that may be this shard already, and the SHA-256 that it then has.
    """

    name: str
    rows: pl.DataFrame
    blobs: Blobs
    stage: Path
    finished: tuple[Path, str] | None = None


def unit_id(name: str, texts: list[str]) -> str:
    """Hash of all that a shard's bytes depend on: its name, and its rows' JSON in their order.

    That names images and masks by hash; spec and seed act through the rows and their order.
    """
    text = "\n".join([_FORMAT, name, *texts])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def write_shard(job: Job) -> list[Row]:
    """Stage a shard, unless it is finished already; rows without a sound image are rejected.

    Returns:
        One row whose column `kept` says whether it was finished; or a failure, `STORAGE` if it is the disk's.
    """
    try:
        with storage_errors(job.stage):
            kept = job.finished is not None and sha256_of(job.finished[0]) == job.finished[1]
            if not kept:
                _write(job)
    except StorageError as error:
        return [Row({}, Status.FAILED, STORAGE, str(error))]
    return [Row({"kept": kept})]


def _write(job: Job) -> None:
    texts = json_of(job.rows)
    places = job.rows.select(name for name in _COLUMNS if name in job.rows.columns)
    entries: list[tuple[Any, ...]] = []
    rejected: list[tuple[str, str, str]] = []
    with renamed(job.stage, job.name) as path, TarWriter(path) as tar:
        for start in range(0, len(texts), _AT_A_TIME):
            rows = places.slice(start, _AT_A_TIME).rows(named=True)
            stored = job.blobs.of(rows)
            for row, text in zip(rows, texts[start : start + _AT_A_TIME], strict=True):
                try:
                    span = _add_sample(tar, row, text.encode(), stored)
                    entries.append((row["sample_id"], *_PLACES(span)))
                except DataError as error:
                    rejected.append((row["sample_id"], error.reason, error.detail))
    unit = unit_id(job.name, texts)
    Staged(unit, tar.sha256, tar.size, pl.DataFrame(entries, ENTRY, orient="row"), rejected).save(
        job.stage, job.name
    )


def _add_sample(tar: TarWriter, row: Mapping[str, Any], text: bytes, stored: Bytes) -> Span:
    """Append a sample's members: image, mask if it has one, JSON."""
    key = row["sample_id"]
    image = _checked(stored.image, row, "sha256")
    mask = _checked(stored.mask, row, "mask_sha256") if row.get("mask_sha256") else b""
    image_offset = tar.add(f"{key}.{EXTENSIONS[row['encoding']]}", image)
    mask_offset = tar.add(f"{key}.{MASK_EXTENSION}", mask) if mask else 0
    json_offset = tar.add(f"{key}.json", text)
    return Span(image_offset, len(image), mask_offset, len(mask), json_offset, len(text))


def _checked(read: Callable[[Mapping[str, Any]], Buffer], row: Mapping[str, Any], column: str) -> Buffer:
    try:
        data: Buffer = read(row)
    except OSError as error:
        raise DataError("unreadable", error.strerror or str(error)) from error
    if hashlib.sha256(data).hexdigest() != row[column]:
        raise DataError("wrong_hash", "the stored bytes differ from the manifest row")
    return data
