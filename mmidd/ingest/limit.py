"""`--limit-videos`, where one method lies in several folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


class Limit:
    """Lets through at most `most` of each method; all of them if None."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, method: str, clips: Iterable[T]) -> Iterator[T]:
        """The next clips of the method, as many as are still allowed."""
        rest = None if self._most is None else self._most - self._taken[method]
        for clip in islice(clips, rest):
            self._taken[method] += 1
            yield clip
