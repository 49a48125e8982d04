"""One process's connection to a remote store: requests that are made again when they fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, TypeVar

from mmidd.errors import DataError, UsageError
from mmidd.storage.failures import beyond_end, permanent, reason
from mmidd.storage.requests import Backoff, Range, Stopped
from mmidd.storage.transfers import Meter

logger = logging.getLogger(__name__)
T = TypeVar("T")

SMALLEST_REQUEST = 64 * 2**10
"""Bytes; after a broken answer half as much is asked for, but not less than this."""


@dataclass
class _Pending:
    """A range of which `received` bytes have arrived."""

    range: Range
    pieces: list[bytes] = field(default_factory=list)
    received: int = 0
    failures: int = 0
    most: int = 0

    @property
    def start(self) -> int:
        return self.range.offset + self.received

    @property
    def end(self) -> int:
        return min(self.range.offset + self.range.length, self.start + self.most)


@dataclass(frozen=True)
class Connection:
    """An fsspec file system, not to be shared with another process.

    Attributes:
        fs: the file system.
        name_of: path in the store -> URL for messages.
        backoff: how often to try.
        meter: counts bytes and retries.
    """

    fs: Any
    name_of: Callable[[str], str]
    backoff: Backoff
    meter: Meter

    def size(self, path: str, stop: Event | None = None) -> int:
        """Bytes of a file.

        Raises:
            DataError: `missing` or `unreachable`.
            UsageError: access is denied, or the store does not tell.
        """
        info = self.call(path, lambda: self.fs.info(path), stop)
        if info.get("type") == "directory":
            raise DataError("missing", self.name_of(path))
        if not isinstance(info.get("size"), int):
            raise UsageError(f"{self.name_of(path)} has no size; copy the files to a folder or object store")
        return int(info["size"])

    def call(self, path: str, function: Callable[[], T], stop: Event | None = None) -> T:
        """What `function`, a request about `path`, returns.

        Raises:
            DataError: `missing` or `unreachable`.
            UsageError: access is denied, or the request makes no sense to the store.
        """
        failures = 0
        while True:
            try:
                return function()
            except Exception as error:  # noqa: BLE001 - every back end raises classes of its own
                failures += 1
                self._failed(path, failures, error)
            self._wait(failures, stop)

    def ranges(self, ranges: Sequence[Range], stop: Event | None = None) -> list[bytes | DataError]:
        """The bytes of every range, or why there are none; the requests run at the same time.

        Raises:
            UsageError: access is denied, or the store does not answer range requests.
            Stopped: `stop` was set.
        """
        outcomes: list[bytes | DataError] = [b""] * len(ranges)
        pending = {i: _Pending(asked, most=asked.length) for i, asked in enumerate(ranges) if asked.length}
        while pending:
            for (i, item), answer in zip(list(pending.items()), self._ask(pending.values()), strict=True):
                try:
                    self._take(item, answer)
                except DataError as error:
                    outcomes[i] = error
                    del pending[i]
                    continue
                if item.received == item.range.length:
                    outcomes[i] = b"".join(item.pieces)
                    del pending[i]
            self._wait(max((item.failures for item in pending.values()), default=0), stop)
        return outcomes

    def _ask(self, pending: Any) -> list[Any]:
        items = list(pending)
        paths = [item.range.path for item in items]
        starts, ends = [item.start for item in items], [item.end for item in items]
        return list(self.fs.cat_ranges(paths, starts, ends, on_error="return"))

    def _take(self, item: _Pending, answer: bytes | BaseException) -> None:
        """Keep what arrived; where it is less than asked for, see whether the rest can be had."""
        path, asked = item.range.path, item.end - item.start
        if isinstance(answer, bytes) and answer:
            if len(answer) > asked:
                raise UsageError(f"{self.name_of(path)}: the store does not answer range requests")
            item.pieces.append(answer)
            item.received += len(answer)
            item.failures = 0
            self.meter.add(bytes=len(answer))
            if len(answer) < asked:
                self._again(path, f"{len(answer)} of {asked} bytes arrived")
            return
        if not isinstance(answer, BaseException) or beyond_end(answer):
            self._check_end(item)
        item.failures += 1
        item.most = max(item.most // 2, SMALLEST_REQUEST)
        self._failed(path, item.failures, EOFError("no bytes arrived") if answer == b"" else answer)

    def _check_end(self, item: _Pending) -> None:
        path, end = item.range.path, item.range.offset + item.range.length
        if (size := self.size(path)) < end:
            raise DataError("truncated", f"{self.name_of(path)} ends at byte {size}, {end} were expected")

    def _failed(self, path: str, failures: int, error: BaseException) -> None:
        url = self.name_of(path)
        if final := permanent(error, url):
            raise final from error
        if failures >= self.backoff.attempts:
            raise DataError("unreachable", f"{url}: {reason(error)}, in {failures} attempts") from error
        self._again(path, reason(error))

    def _again(self, path: str, why: str) -> None:
        self.meter.add(retries=1)
        logger.warning("%s: %s; asking again", self.name_of(path), why)

    def _wait(self, failures: int, stop: Event | None) -> None:
        seconds = self.backoff.delay(failures) if failures else 0
        if (stop or Event()).wait(seconds):
            raise Stopped
