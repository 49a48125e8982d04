"""Run a stage over units: skip what is done, do the rest in workers, commit as it goes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

from mmidd.engine.ledger import Ledger
from mmidd.engine.pool import UnitPool
from mmidd.engine.signals import stop_signals
from mmidd.engine.units import Pool, Row, Stage, Unit
from mmidd.errors import DataError, MmiddError, TooManyFailures
from mmidd.schema import Status


@dataclass(frozen=True)
class EngineOptions:
    """How a stage runs; none of it changes the result.

    Attributes:
        engine: what runs the units, `local` processes or `ray` actors on a cluster.
        workers: processes or actors; None for one per core of the machine or the cluster.
        time_limit: seconds per unit before its worker is killed.
        memory_limit: bytes of private memory per worker.
        retry_failed: do the failed units again.
        max_failed: share of failed units above which the stage ends with an error.
        flush_rows, flush_bytes, flush_seconds: a part is committed when any is reached.
    """

    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    time_limit: float = 600.0
    memory_limit: int = 4 << 30
    retry_failed: bool = False
    max_failed: float = 0.05
    flush_rows: int = 5_000
    flush_bytes: int = 64 << 20
    flush_seconds: float = 30.0


@dataclass(frozen=True)
class Summary:
    """What a run of a stage did; counts are units except `samples` and `rejected`."""

    stage: str
    done_before: int = 0
    finished: int = 0
    failed: int = 0
    failed_before: int = 0
    samples: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def plus(self, rows: list[Row], columns: tuple[str, ...] = ()) -> Summary:
        """The summary after one more unit; `columns` are added up in `totals`."""
        sums = Counter({name: sum(row.columns.get(name) or 0 for row in rows) for name in columns})
        statuses = Counter(row.status for row in rows)
        reasons = Counter(f"{row.status.value}: {row.reason}" for row in rows if row.reason)
        return replace(
            self,
            finished=self.finished + 1,
            failed=self.failed + bool(statuses[Status.FAILED]),
            samples=self.samples + statuses[Status.OK],
            rejected=self.rejected + statuses[Status.REJECTED],
            reasons=self.reasons + reasons,
            totals=self.totals + sums,
        )

    def check(self, max_failed: float) -> None:
        """Raise `TooManyFailures` when the failed share of all units exceeds `max_failed`."""
        units, failed = self.done_before + self.finished, self.failed + self.failed_before
        if units and failed / units > max_failed:
            raise TooManyFailures(
                f"{self.stage}: {failed} of {units} units failed, more than --max-failed {max_failed:g}; "
                "see the reasons above, mend the files and run again with --retry-failed"
            )

    def as_json(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        counters = {"reasons": dict(self.reasons), "totals": dict(self.totals)}
        return {**asdict(self), **counters, "seconds": round(self.seconds, 3)}


class Interrupted(MmiddError):
    """The user stopped the stage; what was finished is committed."""

    exit_code = 130


class Reporter(Protocol):
    """Receives a stage's progress."""

    def start(self, stage: str, total: int | None) -> None:
        """The stage begins; `total` units are listed, if known."""

    def advance(self, unit: Unit | None, summary: Summary) -> None:
        """A unit was finished or skipped, or (None) some time has passed."""

    def stop(self) -> None:
        """The stage ended, however it ended."""


def run_stage(
    stage: Stage,
    ledger: Ledger,
    units: Iterable[Unit],
    options: EngineOptions,
    reporter: Reporter,
    total: int | None = None,
) -> Summary:
    """Do every unit that the ledger does not hold yet.

    Units are drawn lazily. A kill loses at most the units not yet committed, which the next
    run does again; Ctrl-C and SIGTERM commit what is finished first.

    Raises:
        Interrupted: the user stopped the stage.
        StorageError, WorkspaceBusy: see `Ledger`.
    """
    started = time.monotonic()
    with ledger.writing(), stop_signals() as stopped:
        todo = _Todo(units, ledger.attempts(), options.retry_failed, Summary(stage.name))
        buffer = _Buffer(ledger, options)
        reporter.start(stage.name, total)
        try:
            with stage.pool() if stage.pool else worker_pool(stage.work, options) as pool:
                for outcome in pool.run(todo):
                    if outcome is not None:
                        unit, rows = outcome
                        rows = [_with_defaults(unit, row) for row in rows]
                        buffer.add(unit.unit_id, todo.attempt(unit), rows)
                        todo.summary = todo.summary.plus(rows, stage.totals)
                    buffer.flush_if_due()
                    reporter.advance(outcome[0] if outcome else None, todo.summary)
                    if stopped:
                        break
        finally:
            reporter.stop()
            buffer.flush()
    if stopped:
        raise Interrupted(
            f"{stage.name}: stopped after {todo.summary.finished} units, all kept; "
            "run the same command again to go on"
        )
    return replace(todo.summary, seconds=time.monotonic() - started)


def worker_pool(work: Callable[[Any], list[Row]] | None, options: EngineOptions) -> Pool:
    """What runs `work` (from payload to rows) on every unit, as the options say."""
    assert work is not None
    o = options
    if o.engine == "ray":
        from mmidd.engine.on_ray import RayPool

        return RayPool(work, workers=o.workers, time_limit=o.time_limit, memory_limit=o.memory_limit)
    cores = o.workers or len(os.sched_getaffinity(0))
    return UnitPool(work, workers=cores, time_limit=o.time_limit, memory_limit=o.memory_limit)


def _with_defaults(unit: Unit, row: Row) -> Row:
    return replace(row, columns={**unit.columns, **row.columns})


class _Todo:
    """The units still to do, and a running summary of the others."""

    def __init__(
        self, units: Iterable[Unit], done: dict[str, tuple[int, bool]], retry: bool, summary: Summary
    ) -> None:
        self._units, self._done, self._retry = units, done, retry
        self.summary = summary

    def __iter__(self) -> Iterator[Unit]:
        seen: set[str] = set()
        for unit in self._units:
            if unit.unit_id in seen:
                raise DataError("listed_twice", f"{unit.name}; report this as a bug of the reader")
            seen.add(unit.unit_id)
            _, failed = self._done.get(unit.unit_id, (-1, True))
            if unit.unit_id not in self._done or (failed and self._retry):
                yield unit
            else:
                self.summary = replace(
                    self.summary,
                    done_before=self.summary.done_before + 1,
                    failed_before=self.summary.failed_before + failed,
                )

    def attempt(self, unit: Unit) -> int:
        """Number of this attempt, counted from 0."""
        return self._done.get(unit.unit_id, (-1, True))[0] + 1


class _Buffer:
    """Finished units that wait for their part to be worth a file."""

    def __init__(self, ledger: Ledger, options: EngineOptions) -> None:
        self._ledger, self._options = ledger, options
        self._clear()

    def _clear(self) -> None:
        self._units: list[tuple[str, int, list[Row]]] = []
        self._rows = self._bytes = 0
        self._since = time.monotonic()

    def add(self, unit_id: str, attempt: int, rows: list[Row]) -> None:
        self._units.append((unit_id, attempt, rows))
        self._rows += len(rows)
        self._bytes += sum(len(blob.data) for row in rows for blob in row.blobs)

    def flush_if_due(self) -> None:
        o, age = self._options, time.monotonic() - self._since
        if self._rows >= o.flush_rows or self._bytes >= o.flush_bytes or age >= o.flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Commit what waits; on a storage error the units stay undone."""
        units = self._units
        self._clear()
        if units:
            self._ledger.commit(units)
