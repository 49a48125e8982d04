"""The folder of shards as it stands: what of it a new run can keep, and how the new one takes its place."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl

from mmidd.errors import UsageError
from mmidd.files import sha256_if_there
from mmidd.shards.index import (
    INDEX_FILE,
    REJECTED_FILE,
    SAMPLES_FILE,
    SHARD_NAME,
    ShardIndex,
    read_entries,
)
from mmidd.shards.staging import ENTRY, Staged


def published(out: Path, stage: Path) -> dict[str, Staged]:
    """The shards in `out` that an index describes and that have its size, by name.

    The index may lie in `stage`, where a kill in the moment of moving left it.
    """
    for folder in (out, stage):
        try:
            index = ShardIndex.load(folder)
        except UsageError:
            continue
        for place in (out, stage):
            if sha256_if_there(place / SAMPLES_FILE) == index.samples_sha256:
                return _described(out, index, pl.DataFrame(read_entries(place)))
    return {}


def _described(out: Path, index: ShardIndex, entries: pl.DataFrame) -> dict[str, Staged]:
    by_shard = {
        str(name): part.select(*ENTRY) for (name,), part in entries.group_by("shard", maintain_order=True)
    }
    return {
        shard.name: Staged(
            shard.unit, shard.sha256, shard.bytes, by_shard.get(shard.name, pl.DataFrame(schema=ENTRY)), []
        )
        for shard in index.shards
        if (out / shard.name).is_file() and (out / shard.name).stat().st_size == shard.bytes
    }


def publish(stage: Path, out: Path, index: ShardIndex) -> None:
    """Move complete shards into place; those not staged are in `out` already.

    The old index goes first: a kill between the moves leaves a folder that says it has no
    shards, never an index that disagrees with them.
    """
    out.mkdir(exist_ok=True)
    (out / INDEX_FILE).unlink(missing_ok=True)
    shards = {shard.name for shard in index.shards}
    moved = sorted(name for name in shards if (stage / name).exists())
    for name in [*moved, SAMPLES_FILE, REJECTED_FILE, *index.documents, INDEX_FILE]:
        (stage / name).replace(out / name)
    for path in out.iterdir():
        if re.match(SHARD_NAME, path.name) and path.name not in shards:
            path.unlink()
    shutil.rmtree(stage)
