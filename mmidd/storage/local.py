"""A folder on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO

from mmidd.errors import DataError
from mmidd.files import renamed, write_errors
from mmidd.storage.names import check_name
from mmidd.storage.transfers import Transfers


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine; implements `mmidd.storage.Folder`."""

    where: str
    remote = False

    def transfers(self) -> Transfers:
        """Nothing."""
        return Transfers()

    def read(self, name: str) -> bytes:
        """All bytes of a file; FileNotFoundError if there is none."""
        return self._path(name).read_bytes()

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file."""
        with self._open(name) as file:
            data = os.pread(file.fileno(), length, offset)
        if len(data) < length:
            end = offset + length
            raise DataError("truncated", f"{self._path(name)} ends at byte {offset + len(data)} before {end}")
        return data

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | DataError]:
        """Some bytes of many files, or why there are none."""
        outcomes: list[bytes | DataError] = []
        for name, offset, length in ranges:
            try:
                outcomes.append(self.read_range(name, offset, length))
            except DataError as error:
                outcomes.append(error)
        return outcomes

    def open(self, name: str, *, size: int, sha256: str, stop: Event | None = None) -> BinaryIO:
        """The file itself, open for reading; its hash is not computed."""
        file = self._open(name)
        if (found := os.fstat(file.fileno()).st_size) != size:
            file.close()
            raise DataError("wrong_size", f"{self._path(name)} has {found} bytes, {size} were expected")
        return file

    def fetch(self, name: str, *, size: int, sha256: str) -> Path:
        """The path of the file itself; its hash is not computed."""
        self.open(name, size=size, sha256=sha256).close()
        return self._path(name)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._path(name).is_file()

    def write(self, name: str, data: bytes | Path) -> None:
        """Put a file there, whole or not at all."""
        path = self._path(name)
        with write_errors(path.parent, "free space or choose another folder"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with renamed(path.parent, path.name) as temporary:
                if isinstance(data, Path):
                    shutil.copyfile(data, temporary)
                else:
                    temporary.write_bytes(data)

    def _path(self, name: str) -> Path:
        return Path(self.where, check_name(name))

    def _open(self, name: str) -> BinaryIO:
        path = self._path(name)
        try:
            return path.open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise DataError("missing", str(path)) from None
        except OSError as error:
            raise DataError("unreadable", f"{path}: {error.strerror}") from error
