"""Parts and packs: the table a stage writes is also the ledger of what it has done.

A flush writes a pack (an uncompressed tar) and then a part (Parquet) under temporary names
and renames them in that order, so the part's name appearing is the commit. Both carry the
same stem, a hash of the unit ids inside. A pack without its part was never committed and is
removed when the next writer opens the ledger.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmidd.engine.lock import exclusive
from mmidd.engine.units import Row
from mmidd.files import TEMPORARY, write_errors
from mmidd.schema import Status, with_version
from mmidd.workspace import Table


class Ledger(Table):
    """A table that can be written; one process at a time.

    The column `sample_id` names a row's bytes inside the pack.
    """

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder's lock, and clear what a killed writer left behind.

        Raises:
            WorkspaceBusy: another process holds the lock.
        """
        with storage_errors(self.root):
            for folder in ("parts", "packs"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            (self.root / ".lock").touch()
        with exclusive(self.root / ".lock"):
            for orphan in self.orphans():
                orphan.unlink()
            yield

    def attempts(self) -> dict[str, tuple[int, bool]]:
        """Last attempt of every unit in the parts, and whether it failed as a whole."""
        last = (
            self.scan()
            .group_by("unit_id")
            .agg(pl.col("attempt").max(), (pl.col("status") == Status.FAILED.value).any().alias("failed"))
        )
        return {unit_id: (attempt, failed) for unit_id, attempt, failed in last.collect().iter_rows()}

    def commit(self, units: Sequence[tuple[str, int, Sequence[Row]]]) -> Path:
        """Write one part, and its pack where the rows hold bytes.

        Args:
            units: (unit id, attempt, rows) of each unit; a unit without rows is not allowed.

        Raises:
            StorageError: the disk is full or not writable; nothing of this part remains.
        """
        stem = hashlib.sha256("".join(f"{u}:{a}," for u, a, _ in units).encode()).hexdigest()[:16]
        pack, part = self.root / "packs" / f"{stem}.tar", self.root / "parts" / f"{stem}.parquet"
        with storage_errors(self.root, pack, part):
            columns = self._write_pack(pack, units)
            table = pa.Table.from_pylist(columns, schema=with_version(self.schema))
            temporary = part.with_name(TEMPORARY + part.name)
            pq.write_table(table, temporary, compression="zstd")
            _sync(temporary)
            temporary.rename(part)
            _sync(part.parent)
        return part

    def _write_pack(
        self, path: Path, units: Sequence[tuple[str, int, Sequence[Row]]]
    ) -> list[dict[str, Any]]:
        """Write the rows' blobs; return the finished columns of every row."""
        temporary = path.with_name(TEMPORARY + path.name)
        columns = []
        with (
            temporary.open("wb") as raw,
            tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for unit_id, attempt, rows in units:
                for row in rows:
                    self._check(row)
                    ledger = {"unit_id": unit_id, "attempt": attempt, "status": row.status.value}
                    reason = {"reason": row.reason, "detail": row.detail}
                    columns.append({**row.columns, **ledger, **reason, **self._store(tar, path.name, row)})
            members = tar.offset
        if not members:
            temporary.unlink()
            return columns
        _sync(temporary)
        temporary.rename(path)
        _sync(path.parent)
        return columns

    def _check(self, row: Row) -> None:
        unknown = row.columns.keys() - set(self.schema.names)
        if unknown:
            raise KeyError(f"columns {sorted(unknown)} are not in the schema of {self.root}")

    def _store(self, tar: tarfile.TarFile, pack: str, row: Row) -> dict[str, Any]:
        placed: dict[str, Any] = {}
        for blob in row.blobs:
            info = tarfile.TarInfo(f"{row.columns['sample_id']}.{blob.suffix}")
            info.size, info.mode = len(blob.data), 0o644
            placed["pack"] = pack
            placed[f"{blob.prefix}offset"] = tar.offset + tarfile.BLOCKSIZE
            placed[f"{blob.prefix}length"] = len(blob.data)
            placed[f"{blob.prefix}sha256"] = hashlib.sha256(blob.data).hexdigest()
            tar.addfile(info, io.BytesIO(blob.data))
        return placed


@contextmanager
def storage_errors(root: Path, *written: Path) -> Iterator[None]:
    """Turn a write error into one clear line, and remove what was half written."""
    advice = (
        "free space or choose another --workspace, then run the same command again: what is finished is kept"
    )
    with write_errors(root, advice):
        try:
            yield
        except OSError:
            for path in written:
                with suppress(OSError):
                    path.with_name(TEMPORARY + path.name).unlink(missing_ok=True)
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
