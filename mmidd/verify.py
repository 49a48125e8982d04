"""Check a workspace: every byte its tables name is there, nothing else is, and the shards agree."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmidd.errors import DataError, UsageError
from mmidd.shards.index import INDEX_FILE, LABEL_COLUMNS, read_entries
from mmidd.shards.verify import Problem, verify_shards
from mmidd.workspace import Table, Workspace


def verify_workspace(workspace: Workspace, full: bool = False) -> list[Problem]:
    """Everything wrong with the tables and the shards; with `full` also every hash and image."""
    problems = [p for name, table in workspace.tables().items() for p in _table(name, table, full)]
    if (workspace.shards_dir / INDEX_FILE).is_file():
        problems += verify_shards(workspace.shards_dir, full)
        problems += _agreement(workspace)
    return problems


def _agreement(workspace: Workspace) -> Iterator[Problem]:
    """Samples of the shards that the workspace has no more, or labels otherwise: shards out of date."""
    try:
        shards = pl.DataFrame(read_entries(workspace.shards_dir))
    except UsageError:
        return  # said already of the table of samples
    tables = pl.concat([workspace.samples(), workspace.simulated()], how="diagonal")
    rows = tables.select("sample_id", *LABEL_COLUMNS).collect()
    missing = shards.join(rows, left_on="key", right_on="sample_id", how="anti")
    if missing.height:
        what = f"{missing.height:,} samples as {missing['key'][0]} were removed or left out since"
        yield Problem("shards", "not_in_workspace", what)
    both = shards.join(rows, left_on="key", right_on="sample_id", suffix="_now")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_now")) for name in LABEL_COLUMNS)
    if count := both.filter(differs).height:
        yield Problem("shards", "other_labels", f"{count:,} samples as {both.filter(differs)['key'][0]}")


def _table(name: str, table: Table, full: bool) -> Iterator[Problem]:
    for path in table.orphans():
        yield Problem(f"{name}/{path.name}", "orphan", "left by a killed writer; the next run removes it")
    for part in table.parts:
        try:
            rows = pl.DataFrame(pq.read_table(part))
        except (OSError, pa.ArrowException) as error:
            yield Problem(f"{name}/{part.name}", "unreadable", str(error).splitlines()[0])
            continue
        yield from _pack(f"{name}/{part.stem}.tar", table, rows, full)


def _pack(where: str, table: Table, rows: pl.DataFrame, full: bool) -> Iterator[Problem]:
    placed = rows.filter(pl.col("pack").is_not_null()) if "pack" in rows.columns else rows.clear()
    for pack in placed["pack"].unique() if placed.height else []:
        named = set(_extents(placed))
        try:
            stored = _members(table.root / "packs" / pack)
        except (OSError, tarfile.TarError) as error:
            yield Problem(where, "pack_unreadable", str(error))
            return
        for offset, length in sorted(named - stored):
            yield Problem(where, "blob_missing", f"{length} bytes at {offset}")
        for offset, length in sorted(stored - named):
            yield Problem(where, "orphan_bytes", f"{length} bytes at {offset}")
    if full:
        yield from (p for row in placed.iter_rows(named=True) for p in _hashes(where, table, row))


def _extents(placed: pl.DataFrame) -> Iterator[tuple[int, int]]:
    for prefix in ("", "mask_"):
        if f"{prefix}offset" in placed.columns:
            yield from placed.select(f"{prefix}offset", f"{prefix}length").drop_nulls().iter_rows()


def _members(pack: Path) -> set[tuple[int, int]]:
    with tarfile.open(pack) as tar:
        return {(member.offset_data, member.size) for member in tar}


def _hashes(where: str, table: Table, row: dict[str, object]) -> Iterator[Problem]:
    for prefix in ("", "mask_"):
        expected = row.get(f"{prefix}sha256")
        if expected is None:
            continue
        try:
            data = table.read(
                str(row["pack"]), int(str(row[f"{prefix}offset"])), int(str(row[f"{prefix}length"]))
            )
        except DataError as error:
            yield Problem(where, error.reason, error.detail)
            continue
        if hashlib.sha256(data).hexdigest() != expected:
            yield Problem(where, "wrong_hash", f"{prefix}bytes of {row['sample_id']}")
