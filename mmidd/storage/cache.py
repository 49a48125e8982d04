"""A bounded folder of verified files, named by their SHA-256 and shared by any number of processes."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO

from mmidd.errors import DataError, StorageError, UsageError
from mmidd.files import write_errors
from mmidd.storage.locks import claim, exclusive, remove_unused

logger = logging.getLogger(__name__)

DEFAULT_BYTES = 64 * 2**30
FREE_BYTES = 2**30
"""Bytes of the disk that the cache leaves free."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = ".part"
_LOCK = ".lock"
_ADVICE = "free space, set MMIDD_CACHE to a folder on another disk, or set MMIDD_CACHE_GIB"


@dataclass(frozen=True)
class Cache:
    """Least recently used files go first, but never one that is open.

    An open file holds a shared flock, a download an exclusive one on its `.part`. Both end with their
    process, so what a killed process leaves is recognised and removed.

    Attributes:
        root: the folder, made when first needed.
        max_bytes: bound of the sum of all files, unfinished downloads at their full size.
    """

    root: Path
    max_bytes: int = DEFAULT_BYTES

    @classmethod
    def default(cls) -> Cache:
        """The cache in $MMIDD_CACHE, else in `mmidd` of $XDG_CACHE_HOME or ~/.cache.

        Its bound is $MMIDD_CACHE_GIB GiB, else `DEFAULT_BYTES`.

        Raises:
            UsageError: $MMIDD_CACHE_GIB is no positive number.
        """
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        root = Path(os.environ.get("MMIDD_CACHE") or base / "mmidd").absolute()
        gib = os.environ.get("MMIDD_CACHE_GIB")
        return cls(root, DEFAULT_BYTES if gib is None else _bytes(gib))

    def open(
        self, sha256: str, size: int, download: Callable[[BinaryIO], None], stop: Event | None = None
    ) -> BinaryIO:
        """A file with these bytes, open for reading; it stays in the cache until it is closed.

        Of several processes and threads that ask for the same file, one downloads and the others wait.

        Args:
            sha256: of the bytes, 64 hexadecimal digits.
            size: in bytes.
            download: writes the bytes, verified, into an empty file; called only if they are not here.
            stop: ends waiting for another process's download.

        Raises:
            DataError: `sha256` is no SHA-256, or what `download` raises.
            StorageError: the file does not fit, or the folder cannot be written.
            Stopped: `stop` was set.
        """
        if not _SHA256.fullmatch(sha256) or size < 0:
            raise DataError("damaged_index", f"{sha256[:80]!r} with {size} bytes names no file")
        with write_errors(self.root, _ADVICE):
            self.root.mkdir(parents=True, exist_ok=True)
            while True:
                if file := self._present(sha256, size):
                    return file
                if file := self._download(sha256, size, download, stop or Event()):
                    return file

    def _present(self, sha256: str, size: int) -> BinaryIO | None:
        path = self.root / sha256
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        fcntl.flock(file, fcntl.LOCK_SH)
        found = os.fstat(file.fileno())
        if found.st_size == size and found.st_nlink:
            _touch(file)
            return file
        file.close()
        with exclusive(self.root / _LOCK):
            if path.exists() and path.stat().st_size != size:
                logger.warning("%s has %d bytes instead of %d; fetching it again", path, found.st_size, size)
                path.unlink()
        return None

    def _download(
        self, sha256: str, size: int, download: Callable[[BinaryIO], None], stop: Event
    ) -> BinaryIO | None:
        """The file, downloaded by this call; None where another one has finished it meanwhile."""
        path = self.root / sha256
        part = path.with_name(sha256 + _PART)
        with claim(part, stop) as claimed:
            if claimed is None:
                return None
            try:
                if path.exists():
                    part.unlink()
                    return None
                self._reserve(claimed, size)
                download(claimed)
                os.fsync(claimed.fileno())
                return self._publish(part, claimed, path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def _publish(self, part: Path, claimed: BinaryIO, path: Path) -> BinaryIO:
        """Rename a finished download; nothing can remove it before it is open for its reader."""
        with exclusive(self.root / _LOCK):
            part.rename(path)
            fcntl.flock(claimed, fcntl.LOCK_UN)
            file = path.open("rb")
            fcntl.flock(file, fcntl.LOCK_SH)
        return file

    def _reserve(self, part: BinaryIO, size: int) -> None:
        """Give the file its size on the disk, after removing what has to go for it."""
        if size > self.max_bytes:
            raise StorageError(
                f"a file of {size:,} bytes does not fit into the cache {self.root} of {self.max_bytes:,}; "
                "set MMIDD_CACHE_GIB"
            )
        with exclusive(self.root / _LOCK):
            files = self._files()
            excess = max(
                sum(status.st_size for _, status in files) + size - self.max_bytes,
                FREE_BYTES + size - shutil.disk_usage(self.root).free,
            )
            for path, status in sorted(files, key=lambda file: file[1].st_mtime_ns):
                if excess > 0 and remove_unused(path):
                    logger.info("evicted %s, %d bytes", path, status.st_size)
                    excess -= status.st_size
            if excess > 0:
                raise StorageError(
                    f"the cache {self.root} lacks {excess:,} bytes for the next file: it is full of files "
                    f"in use, or its disk is full; {_ADVICE}"
                )
            if size:
                os.posix_fallocate(part.fileno(), 0, size)

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """Files and downloads of the cache, after removing downloads that no process goes on with."""
        files = []
        for path in self.root.iterdir():
            if not _SHA256.fullmatch(path.name.removesuffix(_PART)):
                continue
            if path.suffix == _PART and remove_unused(path):
                continue
            try:
                files.append((path, path.stat()))
            except FileNotFoundError:
                continue
        return files


def _touch(file: BinaryIO) -> None:
    """Make it the most recently used; the kernel's own time is too coarse to order files by."""
    now = time.time_ns()
    os.utime(file.fileno(), ns=(now, now))


def _bytes(gib: str) -> int:
    try:
        value = float(gib)
    except ValueError:
        value = 0.0
    if not 0 < value < 2**30:
        raise UsageError(f"MMIDD_CACHE_GIB is {gib!r}; set it to the size of the cache in GiB, such as 64")
    return int(value * 2**30)
