"""Check shards against their index: quickly by structure, or fully by every byte."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mmidd.errors import DataError, UsageError
from mmidd.files import sha256_if_there
from mmidd.shards.decode import decode_image, decode_json, decode_mask
from mmidd.shards.index import LABEL_COLUMNS, SAMPLES_FILE, SHARD_NAME, Shard, ShardIndex, read_entries
from mmidd.shards.tar import Record, Span, read_record


@dataclass(frozen=True)
class Problem:
    """Something wrong with the shards: `where` names a file, or a sample in a shard."""

    where: str
    reason: str
    detail: str = ""


def verify_shards(out: Path, full: bool) -> list[Problem]:
    """Check a folder of shards.

    Quick: the documents are as written, every shard is there in its size, the members of every
    sample lie where `samples.parquet` says, and the counts agree. Full: also the SHA-256 of every shard and
    image, every image decodes, and every JSON agrees with `samples.parquet`.

    Returns:
        What is wrong, in the order of the index; empty if all is well.

    Raises:
        UsageError: the folder has no index that this version reads.
    """
    index = ShardIndex.load(out)
    problems = [*_stray_files(out, index), *_documents(out, index)]
    if sha256_if_there(out / SAMPLES_FILE) != index.samples_sha256:
        problems.append(Problem(SAMPLES_FILE, "wrong_hash", "differs from index.json"))
    try:
        entries = pl.DataFrame(read_entries(out))
    except UsageError as error:
        return [*problems, Problem(SAMPLES_FILE, "unreadable", str(error))]
    if entries.height != index.samples:
        problems.append(Problem(SAMPLES_FILE, "wrong_count", f"{entries.height} rows, index {index.samples}"))
    by_shard = {str(name): part for (name,), part in entries.group_by("shard", maintain_order=True)}
    for shard in index.shards:
        problems += _check_shard(out, shard, by_shard.get(shard.name, entries.clear()), full)
    return problems


def _stray_files(out: Path, index: ShardIndex) -> Iterator[Problem]:
    known = {shard.name for shard in index.shards}
    for path in sorted(out.iterdir()):
        if re.match(SHARD_NAME, path.name) and path.name not in known:
            yield Problem(path.name, "stray_shard", "not in index.json")


def _documents(out: Path, index: ShardIndex) -> Iterator[Problem]:
    for name, written in index.documents.items():
        found = sha256_if_there(out / name)
        if found is None:
            yield Problem(name, "missing_document")
        elif found != written:
            yield Problem(name, "wrong_hash", "differs from index.json")


def _check_shard(out: Path, shard: Shard, entries: pl.DataFrame, full: bool) -> Iterator[Problem]:
    path = out / shard.name
    if not path.is_file():
        yield Problem(shard.name, "missing_shard")
        return
    size = path.stat().st_size
    if size != shard.bytes:
        yield Problem(shard.name, "wrong_size", f"{size} bytes, index {shard.bytes}")
    for column, counts in (("source", shard.by_source), ("type", shard.by_type)):
        if dict(entries[column].value_counts().iter_rows()) != counts:
            yield Problem(shard.name, "wrong_count", f"counts by {column} differ from {SAMPLES_FILE}")
    if full and sha256_if_there(path) != shard.sha256:
        yield Problem(shard.name, "wrong_hash", "differs from index.json")
    file = os.open(path, os.O_RDONLY)
    try:
        for entry in entries.iter_rows(named=True):
            try:
                record = read_record(file, entry["key"], Span(**{name: entry[name] for name in _SPAN}))
                if full:
                    _check_content(record, entry)
            except DataError as error:
                yield Problem(f"{shard.name}: {entry['key']}", error.reason, error.detail)
    finally:
        os.close(file)


_SPAN = tuple(Span.__dataclass_fields__)


def _check_content(record: Record, entry: dict[str, Any]) -> None:
    row = decode_json(record)
    if hashlib.sha256(record.image).hexdigest() != row.get("sha256"):
        raise DataError("wrong_hash", "the image differs from its JSON")
    if record.mask is not None and hashlib.sha256(record.mask).hexdigest() != row.get("mask_sha256"):
        raise DataError("wrong_hash", "the mask differs from its JSON")
    if differing := [name for name in (*LABEL_COLUMNS, "recipe") if row.get(name) != entry[name]]:
        raise DataError("wrong_labels", f"{', '.join(differing)} differ from {SAMPLES_FILE}")
    decode_image(record)
    decode_mask(record)
