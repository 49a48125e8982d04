"""How many requests a server is given at a time: fewer when it is busy, slowly more when it is not."""

from __future__ import annotations

import asyncio
from collections import deque


class Pressure:
    """A semaphore whose size follows additive increase and multiplicative decrease.

    Args:
        most: requests under way at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = float(most)
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        while self._held >= max(1, int(self.limit)):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
        self._held += 1

    async def __aexit__(self, *_: object) -> None:
        self._held -= 1
        self._wake()

    def back_off(self) -> None:
        """The server is busy: half as many."""
        self.limit = max(1.0, self.limit / 2)

    def relax(self) -> None:
        """The server answered: one more for every round of answers."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)
        self._wake()

    def _wake(self) -> None:
        free = max(1, int(self.limit)) - self._held
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
