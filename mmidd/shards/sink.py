"""A file that is written and hashed in a thread beside, past the page cache where the file system can."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

_BLOCK = 1 << 20


class Sink:
    """Appends to a new file; an error of the disk may surface at a later call.

    Writing around the page cache saves the copy into it and the memory of the machine, which nobody reads
    these files from.
    """

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        self._hash = hashlib.sha256()
        self._blocks = [memoryview(mmap.mmap(-1, _BLOCK)) for _ in range(2)]  # aligned as O_DIRECT wants it
        self._filled = 0
        self._thread = ThreadPoolExecutor(1, "mmidd-sink")
        self._under_way: Future[None] | None = None

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """Append some bytes."""
        rest = memoryview(data)
        while rest:
            part = rest[: _BLOCK - self._filled]
            self._blocks[0][self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rest = rest[len(part) :]
            if self._filled == _BLOCK:
                self._hand_over()

    def sync(self) -> str:
        """Write what is left and make all of it durable; gives the SHA-256 of the file."""
        self._wait()
        fcntl.fcntl(self._file, fcntl.F_SETFL, 0)  # the last block has no whole length
        self._write(self._blocks[0][: self._filled])
        self._filled = 0
        os.fsync(self._file)
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread and close the file, as it is."""
        self._thread.shutdown()
        os.close(self._file)

    def _hand_over(self) -> None:
        self._wait()
        self._under_way = self._thread.submit(self._write, self._blocks[0][: self._filled])
        self._blocks.reverse()
        self._filled = 0

    def _wait(self) -> None:
        if self._under_way:
            self._under_way.result()

    def _write(self, block: memoryview) -> None:
        self._hash.update(block)
        block = block[os.write(self._file, block) :]
        if block:  # the rest has no whole length
            fcntl.fcntl(self._file, fcntl.F_SETFL, 0)
        while block:
            block = block[os.write(self._file, block) :]


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT, 0o666)
    except OSError:  # a file system that cannot, or an error that the next line repeats
        return os.open(path, flags, 0o666)
