"""Finished shards that are not published yet, in a hidden folder beside the published ones.

A shard is there under its name; `<name>.json` follows when it is complete and says from what it was written.
Both appear by a rename, so whatever ends a run, the next one finds what it had finished.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson
import polars as pl

from mmidd.errors import StorageError
from mmidd.files import renamed
from mmidd.shards.tar import Span

ENTRY = {"key": pl.String(), **dict.fromkeys(Span.__dataclass_fields__, pl.Int64())}
"""Columns of `Staged.entries`: a sample's key, and where its members lie."""


@dataclass(frozen=True, eq=False)
class Staged:
    """A finished shard.

    Attributes:
        unit: hash of what it was written from, see `job.unit_id`.
        sha256, bytes: of the file.
        entries: one row per sample, of schema `ENTRY`, in the order of the file.
        rejected: (key, reason, detail) of every row without a sound image or mask.
    """

    unit: str
    sha256: str
    bytes: int
    entries: pl.DataFrame
    rejected: list[tuple[str, str, str]]

    @classmethod
    def load(cls, stage: Path, name: str) -> Self | None:
        """What is staged under this name; None if nothing is, or not completely."""
        try:
            said = orjson.loads(_note(stage, name).read_bytes())
            entries = pl.DataFrame(said.pop("entries"), ENTRY, orient="row")
            staged = cls(entries=entries, **said)
            return staged if (stage / name).stat().st_size == staged.bytes else None
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None

    def save(self, stage: Path, name: str) -> None:
        """Say that the shard of this name is complete."""
        with renamed(stage, _note(stage, name).name) as path:
            path.write_bytes(orjson.dumps({**vars(self), "entries": self.entries.rows()}))


def _note(stage: Path, name: str) -> Path:
    return stage / f"{name}.json"


def staging_folder(out: Path) -> Path:
    """Where the shards of the folder `out` are staged."""
    return out.parent / f".{out.name}.partial"


def tidy(stage: Path, keep: Collection[str]) -> None:
    """Remove all but the staged shards of these names: what other plans and killed writers left."""
    known = {file for name in keep for file in (name, _note(stage, name).name)}
    for path in stage.iterdir():
        if path.name not in known:
            path.unlink()


def check_room(folder: Path, needed: int) -> None:
    """Raise `StorageError` when less than `needed` bytes are free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"the shards need {needed / 1e9:.2f} GB, {folder} has {free / 1e9:.2f} GB left; "
            "free space or choose another --workspace"
        )
