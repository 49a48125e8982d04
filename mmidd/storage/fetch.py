"""Download a file in blocks, several at a time, hashed while it is written."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import BinaryIO

from mmidd.errors import DataError
from mmidd.storage.connection import Connection
from mmidd.storage.requests import Range

logger = logging.getLogger(__name__)

BLOCK = 8 * 2**20
"""Bytes of one request."""

CONCURRENT = 4
"""Requests under way for one file."""


def download(
    connection: Connection, path: str, *, size: int, sha256: str, file: BinaryIO, stop: Event | None = None
) -> None:
    """Write a file of the store into `file`, from its start.

    A block whose connection breaks is asked for again, the blocks before it are kept. Bytes with another hash
    are fetched once more.

    Raises:
        DataError: `missing`, `unreachable`, `truncated`, `wrong_size` or `wrong_hash`; names the URL.
        UsageError: access is denied.
        Stopped: `stop` was set.
    """
    url = connection.name_of(path)
    if (found := connection.size(path, stop)) != size:
        raise DataError("wrong_size", f"{url} has {found} bytes, {size} were expected")
    for again in (True, False):
        if _copy(connection, path, size, file, stop) == sha256:
            connection.meter.add(files=1)
            return
        if again:
            connection.meter.add(refetched=1)
            logger.warning("%s arrived with another SHA-256; fetching it again", url)
    raise DataError("wrong_hash", f"{url} is not the file with SHA-256 {sha256}")


def _copy(connection: Connection, path: str, size: int, file: BinaryIO, stop: Event | None) -> str:
    """Write all blocks in order; return the SHA-256 of what was written."""
    digest = hashlib.sha256()
    file.seek(0)
    for block in _blocks(connection, path, size, stop):
        digest.update(block)
        rest = memoryview(block)
        while rest:
            rest = rest[file.write(rest) :]
    return digest.hexdigest()


def _blocks(connection: Connection, path: str, size: int, stop: Event | None) -> Iterator[bytes]:
    ranges = (Range(path, start, min(BLOCK, size - start)) for start in range(0, size, BLOCK))
    pool = ThreadPoolExecutor(CONCURRENT, "mmidd-download")
    try:
        under_way: deque[Future[list[bytes | DataError]]] = deque()
        while True:
            while len(under_way) < CONCURRENT and (range_ := next(ranges, None)):
                under_way.append(pool.submit(connection.ranges, [range_], stop))
            if not under_way:
                return
            (block,) = under_way.popleft().result()
            if isinstance(block, DataError):
                raise block
            yield block
    finally:
        pool.shutdown(cancel_futures=True)
