"""Where files are: a folder on this machine, or any URL that fsspec opens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import BinaryIO, Protocol

import fsspec

from mmidd.errors import DataError, UsageError
from mmidd.storage.cache import Cache
from mmidd.storage.failures import missing_package, protocol
from mmidd.storage.local import LocalFolder
from mmidd.storage.remote import RemoteFolder
from mmidd.storage.transfers import Transfers

_URL = re.compile(r"[a-z][a-z0-9+.-]*(://|::)")


class Folder(Protocol):
    """Files by name, POSIX paths relative to `where`; it pickles, and may be used in any process and thread.

    Every method but `read` reports a file that is not there as DataError `missing`, and a name that leaves
    the folder as DataError `unsafe_name`. A remote folder also raises DataError `unreachable` after the last
    attempt, and UsageError where access is denied.
    """

    @property
    def where(self) -> str:
        """Path or URL."""

    @property
    def remote(self) -> bool:
        """Whether reading takes a network."""

    def transfers(self) -> Transfers:
        """What this process has downloaded from here."""

    def read(self, name: str) -> bytes:
        """All bytes of a small file.

        Raises:
            FileNotFoundError: there is none.
        """

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length) of a file.

        Raises:
            DataError: `missing`, or `truncated` where the file ends before.
        """

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | DataError]:
        """What `read_range` gives or raises for every (name, offset, length), requested at the same time."""

    def open(self, name: str, *, size: int, sha256: str, stop: Event | None = None) -> BinaryIO:
        """A file with these bytes on this machine, open for reading.

        Of a local folder it is the file itself, and only its size is checked. Of a remote one it is the
        verified copy in the cache, which stays there until the file is closed.

        Args:
            name: of the file.
            size: in bytes.
            sha256: of its bytes.
            stop: ends a download under way, with `mmidd.storage.requests.Stopped`.

        Raises:
            DataError: `missing`, `wrong_size`, `wrong_hash` (after a second download) or `truncated`.
            StorageError: the cache has no room, or cannot be written.
        """

    def fetch(self, name: str, *, size: int, sha256: str) -> Path:
        """The path of what `open` opens; in a remote folder's cache it may be evicted after this returns."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def write(self, name: str, data: bytes | Path) -> None:
        """Put a file there, from bytes or from a file of this machine.

        Raises:
            StorageError: the disk is full or not writable.
            UsageError: there is no such bucket, or the store is for reading only.
        """


def open_folder(where: str | Path, cache: Cache | None = None) -> Folder:
    """The folder at a path or URL; nothing is read yet.

    Args:
        where: a path, `file://`, or a URL that fsspec opens: `s3://`, `gs://`, `hf://`, `memory://`, ...
        cache: for the files of a remote folder; None for `Cache.default()`.

    Raises:
        UsageError: the protocol is unknown.
        MissingExtra: the protocol's package is not installed.
    """
    if isinstance(where, Path) or not _URL.match(where):
        return LocalFolder(str(where))
    text = where.rstrip("/")
    if text.endswith(":"):
        raise UsageError(f"{where} names no folder; give a URL such as s3://bucket/folder")
    try:
        kind = fsspec.get_filesystem_class(protocol(text))
    except ValueError:
        raise UsageError(
            f"no protocol {protocol(text)}:// in {text}; give a folder, or a URL such as s3://bucket/folder"
        ) from None
    except ImportError as error:
        raise missing_package(text, error) from error
    if kind is fsspec.get_filesystem_class("file"):
        return LocalFolder(str(kind._strip_protocol(text)))
    return RemoteFolder(text, cache or Cache.default())
