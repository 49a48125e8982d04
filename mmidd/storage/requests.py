"""What is asked of a store, how often, and how the caller gives up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple


class Stopped(Exception):
    """The caller no longer wants the answer."""


class Range(NamedTuple):
    """Bytes [offset, offset + length) of a file of the store, by its path there."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True)
class Backoff:
    """Attempts in a row without a byte received, and the seconds waited after the first failure."""

    attempts: int = 6
    base: float = 0.5
    longest: float = 16.0

    def delay(self, failures: int) -> float:
        """Seconds before the next attempt: doubled each time, with jitter."""
        return random.SystemRandom().uniform(0.5, 1) * min(self.longest, self.base * 2.0 ** (failures - 1))
