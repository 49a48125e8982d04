"""Fetch the next files while the earlier ones are used."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from types import TracebackType
from typing import BinaryIO, Self

from mmidd.errors import StorageError
from mmidd.storage.location import Folder

logger = logging.getLogger(__name__)


@dataclass
class _Turn:
    """A file, and its copy under way or open."""

    name: str
    size: int
    sha256: str
    ahead: Future[BinaryIO] | None = None

    def drop(self) -> None:
        """Give up the copy."""
        if self.ahead and not self.ahead.cancel():
            self.ahead.add_done_callback(_close)
        self.ahead = None


class ReadAhead:
    """Opens files in order, of which one thread has fetched the next `depth` before their turn.

    A context manager: on leaving it the download under way is ended and files not taken are closed.

    Args:
        folder: where the files are.
        upcoming: (name, size in bytes, SHA-256) of every file in the order of use; taken as needed.
        depth: files fetched beyond the one in use; the cache holds them open, so it must have room for them.
    """

    def __init__(self, folder: Folder, upcoming: Iterable[tuple[str, int, str]], depth: int) -> None:
        self._folder = folder
        self._upcoming = iter(upcoming)
        self._depth = depth
        self._window: deque[_Turn] = deque()
        self._position = 0
        self._stop = Event()
        self._thread = ThreadPoolExecutor(1, "mmidd-read-ahead")

    def __enter__(self) -> Self:
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for turn in self._window:
            turn.drop()
        self._thread.shutdown()

    def advance(self, position: int) -> BinaryIO:
        """The file of this position in `upcoming`, open for reading; the caller closes it.

        Args:
            position: from 0, larger than that of the call before; files between them are skipped.

        Raises:
            MmiddError: what fetching this file raised (see `Folder.open`).
            IndexError: there are no more files.
            ValueError: its turn has passed.
        """
        if position < self._position:
            raise ValueError(f"file {position} was passed, the next one is {self._position}")
        while self._position < position:
            self._next().drop()
        turn = self._next()
        self._fill()
        try:
            return turn.ahead.result() if turn.ahead else self._open(turn)
        except StorageError as error:
            logger.warning("no room to read ahead: %s", error)
            for later in self._window:
                later.drop()
            return self._thread.submit(self._open, turn).result()  # after what is under way there

    def _next(self) -> _Turn:
        turn = self._window.popleft() if self._window else self._pull()
        if turn is None:
            raise IndexError(f"there are {self._position} files")
        self._position += 1
        return turn

    def _pull(self) -> _Turn | None:
        file = next(self._upcoming, None)
        return None if file is None else _Turn(*file)

    def _fill(self) -> None:
        while len(self._window) < self._depth and (turn := self._pull()):
            self._window.append(turn)
        for turn in self._window:
            if turn.ahead is None:
                turn.ahead = self._thread.submit(self._open, turn)

    def _open(self, turn: _Turn) -> BinaryIO:
        return self._folder.open(turn.name, size=turn.size, sha256=turn.sha256, stop=self._stop)


def _close(ahead: Future[BinaryIO]) -> None:
    if ahead.exception() is None:
        ahead.result().close()
