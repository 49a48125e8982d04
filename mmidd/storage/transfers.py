"""What was transferred, counted without locks: a fork in the middle of a count harms nothing."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Transfers:
    """Downloads of one process.

    Attributes:
        files: files downloaded into the cache.
        bytes: bytes received, those of repeated requests included.
        retries: requests made again after a broken, short or refused answer.
        refetched: files downloaded once more because their hash was wrong.
    """

    files: int = 0
    bytes: int = 0
    retries: int = 0
    refetched: int = 0


@dataclass(frozen=True)
class Meter:
    """Adds up the transfers of this process; every thread has its own counter."""

    _counters: dict[tuple[int, int], Counter[str]] = field(default_factory=dict)

    def add(self, *, files: int = 0, bytes: int = 0, retries: int = 0, refetched: int = 0) -> None:  # noqa: A002
        """Count what happened."""
        mine = self._counters.setdefault((os.getpid(), threading.get_ident()), Counter())
        mine.update(files=files, bytes=bytes, retries=retries, refetched=refetched)

    def total(self) -> Transfers:
        """Everything this process has counted so far."""
        mine = [counter for (process, _), counter in list(self._counters.items()) if process == os.getpid()]
        return Transfers(**sum(mine, Counter[str]()))
