"""Write shards in workers, or in this process where one worker is enough."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from mmidd.engine import EngineOptions, Interrupted, Row, Unit
from mmidd.engine.signals import stop_signals
from mmidd.engine.stage import worker_pool
from mmidd.engine.units import Outcome, Pool
from mmidd.errors import StorageError, TooManyFailures
from mmidd.schema import Status
from mmidd.shards.job import STORAGE, Job, write_shard


class _Here:
    """A pool without workers: saves their start where there is nothing to share out."""

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, units: Iterable[Unit]) -> Iterator[Outcome | None]:
        """Outcomes one by one."""
        for unit in units:
            yield unit, write_shard(unit.payload)


def run_jobs(jobs: Iterable[Job], count: int, options: EngineOptions) -> Iterator[tuple[Job, bool]]:
    """Do the jobs, `count` in all; gives each as it is done, and whether its shard was finished before.

    Raises:
        StorageError: the disk did not take a shard.
        TooManyFailures: workers died or took too long; the other shards are staged.
        Interrupted: the user stopped it; what is finished is staged.
    """
    failures: Counter[str] = Counter()
    with stop_signals() as stopped, _pool(count, options) as pool:
        for outcome in pool.run(Unit(job.name, job.name, job) for job in jobs):
            if outcome is not None:
                unit, rows = outcome
                if row := _failure(rows):
                    failures[f"{row.reason} {row.detail or ''}".strip()] += 1
                else:
                    yield unit.payload, rows[0].columns["kept"]
            if stopped:
                raise Interrupted(
                    "shard: stopped, finished shards are kept; run the same command again to go on"
                )
    if failures:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in failures.items())
        raise TooManyFailures(
            f"{failures.total():,} of {count:,} shards could not be written ({reasons}); "
            "the others are kept, run the same command again to write these"
        )


def _pool(count: int, options: EngineOptions) -> Pool:
    """What does `count` jobs, with no more workers than these need."""
    workers = options.workers
    if options.engine == "local":
        workers = min(count, workers or len(os.sched_getaffinity(0)))
    alone = count == 0 or (options.engine == "local" and workers == 1)
    return _Here() if alone else worker_pool(write_shard, replace(options, workers=workers))


def _failure(rows: list[Row]) -> Row | None:
    row = rows[-1]
    if row.reason == STORAGE:
        raise StorageError(row.detail or "")
    return row if row.status is Status.FAILED else None
