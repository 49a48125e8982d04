"""Units on a Ray cluster: actors on all nodes, each with a process beside it that can be killed."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

import mmidd
from mmidd.engine.cluster import connect, import_ray, one_line
from mmidd.engine.pool import Guard, failed
from mmidd.engine.units import Outcome, Row, Unit
from mmidd.errors import UsageError

DEATHS = 5
"""Deaths of an actor at work on a unit after which the unit fails."""

_PER_ACTOR = 2
"""Calls that an actor holds: one that it works on, one that waits in its queue."""
_CALL_SECONDS = 0.5
"""What a call should take: short units travel together, as a call costs the driver a millisecond."""
_MOST = 64
"""Units in a call."""
_POLL_SECONDS = 0.5

Job = tuple[Unit, int]
"""A unit, and how many actors died at work on it."""


class Actor:
    """Runs units in a process of its own, in the folder that the command was started in."""

    def __init__(
        self, work: Callable[[Any], list[Row]], folder: str, time_limit: float, memory_limit: int
    ) -> None:
        os.chdir(folder)
        self._work = work
        self._guard = Guard(time_limit=time_limit, memory_limit=memory_limit)

    def version(self) -> str:
        """Of the mmidd that the node has."""
        return mmidd.__version__

    def rows(self, payloads: list[Any]) -> tuple[list[list[Row]], float]:
        """The rows of every unit, as a `UnitPool` makes them, and the seconds it took."""
        start = time.monotonic()
        return self._guard.rows(self._work, payloads), time.monotonic() - start


class RayPool:
    """Actors that turn every unit into rows, whatever happens to a unit, an actor or a node.

    An actor that dies is started again where the cluster has room, and each of its units is given to
    an idle one: Ray's own repetition of a call would wait for the same actor, on a smaller cluster
    for ever. So a unit may be worked on twice, and one result is taken. A call of an actor is for
    one unit, or for several short ones.

    Args:
        work: picklable function from payload to rows.
        workers: number of actors; None for one per processor of the cluster. Those that find no
            room wait for it, which makes an autoscaling cluster grow.
        time_limit: seconds after which a unit's process is killed.
        memory_limit: bytes of private memory that process may allocate.

    Raises:
        MissingExtra, UsageError: on entering, see `cluster.connect`.
    """

    def __init__(
        self, work: Callable[[Any], list[Row]], *, workers: int | None, time_limit: float, memory_limit: int
    ) -> None:
        self._arguments = (work, str(Path.cwd()), time_limit, memory_limit)
        self._workers = workers
        self._actors: list[Any] = []
        self._joining: dict[Any, Any] = {}
        self._free: dict[Any, int] = {}
        self._waiting: dict[Any, tuple[Any, list[Job], int]] = {}
        self._again: deque[Job] = deque()
        self._size = 1
        self._leaving = ExitStack()

    def __enter__(self) -> RayPool:
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(sys.stderr))  # Ray prints there that a node died
            connected = import_ray().is_initialized()
            ray = self._ray = connect()
            if not connected:
                stack.callback(ray.shutdown)
            remote = ray.remote(num_cpus=1, max_restarts=-1, scheduling_strategy="SPREAD")(Actor)
            for _ in range(self._workers or _processors(ray)):
                self._actors.append(remote.remote(*self._arguments))
            for _ in range(_PER_ACTOR):
                for actor in self._actors:
                    self._join(actor)
            self._leaving = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        self._leaving.close()

    def run(self, units: Iterable[Unit]) -> Iterator[Outcome | None]:
        """Outcomes as they finish, None at least twice a second meanwhile.

        Raises:
            UsageError: a node cannot start an actor, or has another mmidd.
        """
        source = iter(units)
        while True:
            while self._free and self._send(source):
                pass
            if self._free and not self._waiting and not self._again:
                return
            for ref in self._finished():
                if ref in self._joining:
                    self._joined(ref)
                elif ref in self._waiting:
                    yield from self._outcomes(ref)
            yield None

    def _send(self, source: Iterator[Unit]) -> bool:
        """Make a call of the idlest actor; a unit whose actor died waits for one that is all its own."""
        actor = max(self._free, key=self._free.__getitem__)
        places = _PER_ACTOR if self._again else 1
        if self._free[actor] < places:
            return False
        jobs = [self._again.popleft()] if self._again else [(u, 0) for u in islice(source, self._size)]
        if jobs:
            self._free[actor] -= places
            if not self._free[actor]:
                del self._free[actor]
            self._waiting[actor.rows.remote([unit.payload for unit, _ in jobs])] = (actor, jobs, places)
        return bool(jobs)

    def _finished(self) -> list[Any]:
        """Calls that ended; waits a little for the first."""
        calls = [*self._waiting, *self._joining]
        self._ray.wait(calls, timeout=_POLL_SECONDS)
        return list(self._ray.wait(calls, num_returns=len(calls), timeout=0)[0])

    def _join(self, actor: Any) -> None:
        """Make one call more of this actor once it answers."""
        self._joining[actor.version.options(max_task_retries=-1).remote()] = actor

    def _joined(self, call: Any) -> None:
        actor = self._joining.pop(call)
        try:
            version = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            raise UsageError(
                f"a node of the cluster cannot work in {self._arguments[1]} ({one_line(error)}); every "
                "node needs the same mmidd and the same paths, see docs/scale.md"
            ) from error
        if version != mmidd.__version__:
            raise UsageError(
                f"a node of the cluster has mmidd {version}, this is {mmidd.__version__}; install the same"
            )
        self._release(actor, 1)

    def _release(self, actor: Any, places: int) -> None:
        self._free[actor] = self._free.get(actor, 0) + places

    def _outcomes(self, call: Any) -> Iterator[Outcome]:
        actor, jobs, places = self._waiting[call]
        lost = self._ray.exceptions
        try:
            found, seconds = self._ray.get(call)
        except (lost.RayActorError, lost.ObjectLostError, lost.OutOfMemoryError):
            yield from self._lost(actor)
        else:
            del self._waiting[call]
            self._release(actor, places)
            self._size = max(1, min(_MOST, 2 * self._size, int(_CALL_SECONDS * len(jobs) / seconds)))
            yield from ((unit, rows) for (unit, _), rows in zip(jobs, found, strict=True))

    def _lost(self, actor: Any) -> Iterator[Outcome]:
        """Take everything back from an actor; it worked on the oldest call."""
        calls = [call for call, (owner, *_) in self._waiting.items() if owner is actor]
        for number, (_, jobs, places) in enumerate([self._waiting.pop(call) for call in calls]):
            for _ in range(places):
                self._join(actor)
            for unit, deaths in jobs:
                if number == 0 and deaths + 1 == DEATHS:
                    yield unit, [failed("worker_died", f"{DEATHS} actors died at work on it")]
                else:
                    self._again.append((unit, deaths + (number == 0)))


def _processors(ray: Any) -> int:
    found = int(ray.cluster_resources().get("CPU", 0))
    if not found:
        raise UsageError("the Ray cluster has no processors; add nodes with `ray start --address ...`")
    return found
