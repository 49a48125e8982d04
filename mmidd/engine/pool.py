"""Workers that can be killed: each unit runs in a process with a time and a memory limit."""

from __future__ import annotations

import multiprocessing
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from mmidd.engine.signals import follow_parent
from mmidd.engine.threads import single_thread
from mmidd.engine.units import Outcome, Row, Unit
from mmidd.errors import DataError
from mmidd.schema import Status

T = TypeVar("T")

_POLL_SECONDS = 0.5


class Guard:
    """Runs functions in one other process, which is killed when a call takes too long.

    Args:
        time_limit: seconds per call.
        memory_limit: bytes of private memory the process may allocate.
    """

    def __init__(self, *, time_limit: float, memory_limit: int) -> None:
        self._time_limit = time_limit
        self._pool = _processes(1, memory_limit)

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        _shut(self._pool)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result; its exceptions pass through.

        Raises:
            DataError: `timed_out` or `worker_died`.
        """
        return _result(
            self._pool.schedule(function, args=arguments, timeout=self._time_limit), self._time_limit
        )

    def rows(self, work: Callable[[Any], list[Row]], payloads: Iterable[Any]) -> list[list[Row]]:
        """The rows of units; a failure row for one that raises, takes too long or kills the process."""
        futures = [self._pool.schedule(_run, args=(work, one), timeout=self._time_limit) for one in payloads]
        return [_rows(future, self._time_limit) for future in futures]


class UnitPool:
    """A process pool that turns every unit into rows, whatever happens to its worker.

    Args:
        work: picklable function from payload to rows.
        workers: number of processes.
        time_limit: seconds after which a unit's worker is killed.
        memory_limit: bytes of private memory a worker may allocate.
    """

    def __init__(
        self, work: Callable[[Any], list[Row]], *, workers: int, time_limit: float, memory_limit: int
    ) -> None:
        self._work = work
        self._in_flight = workers + 1
        self._time_limit = time_limit
        self._pool = _processes(workers, memory_limit)

    def __enter__(self) -> UnitPool:
        return self

    def __exit__(self, *_: object) -> None:
        _shut(self._pool)

    def run(self, units: Iterable[Unit]) -> Iterator[Outcome | None]:
        """Outcomes as they finish, None at least twice a second meanwhile.

        At most one unit more than there are workers is held at a time.
        """
        waiting: dict[Future[list[Row]], Unit] = {}
        source = iter(units)
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and len(waiting) < self._in_flight:
                unit = next(source, None)
                if unit is None:
                    exhausted = True
                    break
                waiting[self._schedule(unit)] = unit
            finished, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            yield from ((waiting[future], _rows(future, self._time_limit)) for future in finished)
            for future in finished:
                del waiting[future]
            yield None

    def _schedule(self, unit: Unit) -> Future[list[Row]]:
        return self._pool.schedule(_run, args=(self._work, unit.payload), timeout=self._time_limit)


def _processes(workers: int, memory_limit: int) -> ProcessPool:
    context = multiprocessing.get_context("spawn")
    return ProcessPool(
        max_workers=workers, initializer=_start_worker, initargs=(memory_limit,), context=context
    )


def _shut(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _result(future: Future[T], time_limit: float) -> T:
    try:
        return future.result()
    except FutureTimeout as error:
        raise DataError("timed_out", f"more than {time_limit:g} s") from error
    except ProcessExpired as error:
        raise DataError("worker_died", f"exit code {error.exitcode}") from error


def _rows(future: Future[list[Row]], time_limit: float) -> list[Row]:
    try:
        return settle(_result(future, time_limit))
    except DataError as error:
        return [failed(error.reason, error.detail)]


def settle(rows: list[Row]) -> list[Row]:
    """The rows, plus a failure of the whole unit when none of them is usable."""
    if any(row.status in (Status.OK, Status.FAILED) for row in rows):
        return rows
    reasons = Counter(row.reason for row in rows)
    reason = reasons.most_common(1)[0][0] if reasons else "empty"
    return [*rows, failed(reason or "empty", f"none of {len(rows)} items is usable" if rows else "")]


def failed(reason: str, detail: str = "") -> Row:
    """The row of a unit that failed as a whole."""
    return Row({}, Status.FAILED, reason, detail or None)


def _run(work: Callable[[Any], list[Row]], payload: Any) -> list[Row]:
    try:
        return work(payload)
    except Exception as error:  # noqa: BLE001 - the boundary where any failure becomes a row
        return [failure(error)]


def failure(error: BaseException) -> Row:
    """The row of a unit whose work raised."""
    if isinstance(error, DataError):
        return failed(error.reason, error.detail)
    if isinstance(error, MemoryError):
        return failed("out_of_memory")
    return failed(f"error_{type(error).__name__}", " ".join(str(error).split())[:300])


def _start_worker(memory_limit: int) -> None:
    """Leave Ctrl-C to the parent, die with it, keep within the memory limit and to one thread."""
    follow_parent()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_limit, hard))
    single_thread()
