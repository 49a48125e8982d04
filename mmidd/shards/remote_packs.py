"""Packs of a workspace that lie behind a URL: the bytes of many rows are requested at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmidd.errors import DataError, StorageError
from mmidd.storage import Folder

Row = Mapping[str, Any]
Outcome = bytes | DataError


@dataclass(frozen=True)
class RemotePacks:
    """Packs under a URL that mirrors a workspace: `<url>/<table>/packs/<pack>`; implements `Blobs`."""

    folder: Folder

    def of(self, rows: Sequence[Row]) -> _Fetched:
        """The bytes of these rows.

        Raises:
            StorageError: the store does not answer any more.
        """
        images = [(_pack(row), row["offset"], row["length"]) for row in rows]
        masked = [row for row in rows if row.get("mask_sha256")]
        masks = [(_pack(row), row["mask_offset"], row["mask_length"]) for row in masked]
        found = self.folder.read_ranges([*images, *masks])
        for one in found:
            if isinstance(one, DataError) and one.reason == "unreachable":
                raise StorageError(f"{one.detail}; run the same command again when it answers")
        return _Fetched(
            {row["sample_id"]: data for row, data in zip(rows, found, strict=False)},
            {row["sample_id"]: data for row, data in zip(masked, found[len(images) :], strict=True)},
        )


@dataclass(frozen=True)
class _Fetched:
    """Bytes by sample, or why there are none."""

    images: dict[str, Outcome]
    masks: dict[str, Outcome]

    def image(self, row: Row, /) -> bytes:
        """See `Bytes`."""
        return _or_raise(self.images[row["sample_id"]])

    def mask(self, row: Row, /) -> bytes:
        """See `Bytes`."""
        return _or_raise(self.masks[row["sample_id"]])


def _pack(row: Row) -> str:
    return f"{row['table']}/packs/{row['pack']}"


def _or_raise(found: Outcome) -> bytes:
    if isinstance(found, DataError):
        raise found
    return found
