"""Where the images and masks of manifest rows are read from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from mmidd.errors import DataError
from mmidd.shards.tar import Buffer

PLACE_COLUMNS = ("table", "pack", "offset", "length", "mask_offset", "mask_length")
"""Columns of a workspace's rows that say where the bytes lie."""

_OPEN_PACKS = 128


class Bytes(Protocol):
    """The stored bytes of rows; `DataError` and `OSError` reject a row."""

    def image(self, row: Mapping[str, Any], /) -> Buffer:
        """The encoded image."""

    def mask(self, row: Mapping[str, Any], /) -> Buffer:
        """The mask of a row that has `mask_sha256`."""


class Blobs(Protocol):
    """Where stored bytes come from; picklable, for every worker reads for itself."""

    def of(self, rows: Sequence[Mapping[str, Any]], /) -> Bytes:
        """Those of rows that are read next.

        They have `sample_id`, `mask_sha256` and those of `PLACE_COLUMNS` that the table has.

        Raises:
            StorageError: none can be read at present.
        """


class Packs:
    """The packs of a workspace.

    Args:
        root: the workspace's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open = lru_cache(_OPEN_PACKS)(lambda table, pack: _Pack(root / table / "packs" / pack))

    def __reduce__(self) -> tuple[type[Packs], tuple[Path]]:
        return Packs, (self._root,)

    def of(self, rows: Sequence[Mapping[str, Any]], /) -> Packs:
        """Those of any rows."""
        return self

    def image(self, row: Mapping[str, Any], /) -> bytes:
        """The image of a row.

        Raises:
            DataError: the pack is missing or too short.
        """
        return self._read(row, row["offset"], row["length"])

    def mask(self, row: Mapping[str, Any], /) -> bytes:
        """The mask of a simulated forgery; raises like `image`."""
        return self._read(row, row["mask_offset"], row["mask_length"])

    def _read(self, row: Mapping[str, Any], offset: int, length: int) -> bytes:
        pack: str = row["pack"]
        try:
            data = os.pread(self._open(row["table"], pack).descriptor, length, offset)
        except FileNotFoundError as error:
            raise DataError("pack_missing", pack) from error
        if len(data) != length:
            raise DataError("pack_truncated", f"{pack} at {offset}")
        return data


class _Pack:
    """An open pack, closed with its last reference."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        with suppress(AttributeError):
            os.close(self.descriptor)
