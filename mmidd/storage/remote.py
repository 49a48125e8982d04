"""A folder behind an fsspec URL, its large files kept in the cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import fsspec

from mmidd.errors import DataError, UsageError
from mmidd.storage.cache import Cache
from mmidd.storage.connection import Connection
from mmidd.storage.failures import protocol
from mmidd.storage.fetch import download
from mmidd.storage.names import check_name
from mmidd.storage.requests import Backoff, Range
from mmidd.storage.transfers import Meter, Transfers


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind a URL; implements `mmidd.storage.Folder`.

    It pickles, and every process that uses it has a connection of its own.
    """

    where: str
    cache: Cache
    backoff: Backoff = field(default_factory=Backoff)
    meter: Meter = field(default_factory=Meter, compare=False)
    _connections: dict[int, tuple[Connection, str]] = field(default_factory=dict, compare=False, repr=False)
    remote = True

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_connections": {}, "meter": Meter()}

    def transfers(self) -> Transfers:
        """What this process has downloaded from here."""
        return self.meter.total()

    def read(self, name: str) -> bytes:
        """All bytes of a small file; FileNotFoundError if there is none."""
        connection, path = self._at(name)
        try:
            return self.read_range(name, 0, connection.size(path))
        except DataError as error:
            if error.reason != "missing":
                raise
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._url(name)) from error

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file."""
        (outcome,) = self.read_ranges([(name, offset, length)])
        if isinstance(outcome, DataError):
            raise outcome
        return outcome

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | DataError]:
        """Some bytes of many files, or why there are none; asked for at the same time."""
        connection, root = self._connection()
        return connection.ranges(
            [Range(f"{root}/{check_name(name)}", offset, length) for name, offset, length in ranges]
        )

    def open(self, name: str, *, size: int, sha256: str, stop: Event | None = None) -> BinaryIO:
        """The verified copy in the cache, open for reading; it stays there until it is closed."""
        connection, path = self._at(name)

        def write(file: BinaryIO) -> None:
            download(connection, path, size=size, sha256=sha256, file=file, stop=stop)

        return self.cache.open(sha256, size, write, stop)

    def fetch(self, name: str, *, size: int, sha256: str) -> Path:
        """The path of the verified copy in the cache; a later download may evict it."""
        self.open(name, size=size, sha256=sha256).close()
        return self.cache.root / sha256

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        connection, path = self._at(name)
        try:
            connection.size(path)
        except DataError as error:
            if error.reason != "missing":
                raise
            return False
        return True

    def write(self, name: str, data: bytes | Path) -> None:
        """Upload a file."""
        connection, path = self._at(name)
        fs = connection.fs
        is_file = isinstance(data, Path)
        put = partial(fs.put_file, str(data), path) if is_file else partial(fs.pipe_file, path, data)
        try:
            connection.call(path, put)
        except DataError as error:
            if error.reason != "missing":
                raise
            raise UsageError(f"cannot write {self._url(name)}: no such bucket; make it first") from error

    def _at(self, name: str) -> tuple[Connection, str]:
        connection, root = self._connection()
        return connection, f"{root}/{check_name(name)}"

    def _url(self, name: str) -> str:
        return f"{self.where}/{name}"

    def _connection(self) -> tuple[Connection, str]:
        """This process's connection, and the path of the folder in the store."""
        if (found := self._connections.get(os.getpid())) is None:
            fs, root = connect(self.where)
            root = root.rstrip("/")
            name_of = partial(_url_of, self.where, len(root))
            found = Connection(fs, name_of, self.backoff, self.meter), root
            self._connections[os.getpid()] = found
        return found


def _url_of(where: str, root: int, path: str) -> str:
    return where + path[root:]


def connect(url: str) -> tuple[Any, str]:
    """A new fsspec file system for a URL, and the path in it.

    S3 leaves every retry to `Connection`, which counts it.
    """
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if protocol(url) not in ("s3", "s3a"):
        return fsspec.core.url_to_fs(url, **options)  # type: ignore[no-any-return]
    settings = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
    config = {"retries": {"total_max_attempts": 1}, "max_pool_connections": 64} | settings
    fs, path = fsspec.core.url_to_fs(url, config_kwargs=config, **options)
    fs.retries = 1
    return fs, path
