"""Write the samples of a manifest into POSIX tar shards, byte-identical when repeated."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mmidd.engine import EngineOptions
from mmidd.engine.ledger import storage_errors
from mmidd.errors import TooManyFailures
from mmidd.schema import Split
from mmidd.shards.blobs import Blobs
from mmidd.shards.draft import Draft, by_reason
from mmidd.shards.layout import check_columns, plan_shards, screen
from mmidd.shards.published import publish
from mmidd.shards.work import Work
from mmidd.spec import PreprocessSpec

TARGET_BYTES = 256 * 2**20
"""Default upper mark of the mean shard size."""


@dataclass(frozen=True)
class ShardSummary:
    """What `write_shards` wrote.

    Attributes:
        out: the folder of shards.
        shards: tar files there are.
        kept: how many of them were finished before, by an earlier or a killed run.
        bytes: their total size.
        samples: samples by split.
        rejected: manifest rows left out, by reason; `rejected.parquet` names each.
    """

    out: Path
    shards: int
    kept: int
    bytes: int
    samples: dict[str, int]
    rejected: dict[str, int]

    @property
    def failed_share(self) -> float:
        """Share of the given rows that were left out, in [0, 1]."""
        failed = sum(self.rejected.values())
        return failed / (failed + sum(self.samples.values()))


def write_shards(
    samples: pl.DataFrame,
    blobs: Blobs,
    out: Path,
    *,
    spec: PreprocessSpec,
    seed: int = 0,
    target_bytes: int = TARGET_BYTES,
    options: EngineOptions | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    left_out: Mapping[str, int] | None = None,
) -> ShardSummary:
    """Write every sample with its metadata into the shards of its split.

    Shards are staged beside `out` and moved into place when all are complete, the index last. A
    write that fails or is killed before that leaves the previous shards as they were, and the staged
    ones for the next run. Neither these nor published shards are written again if they would have the same
    bytes and lack no row.

    Args:
        samples: rows of schema.SAMPLES, optionally with the captions `face` and `environment`
            and the columns of simulations; each column but those of the ledger and of the
            placement in packs goes into the sample's JSON.
        blobs: gives the encoded image of a row, and the mask of one that has `mask_sha256`.
        out: the folder of shards.
        spec: preprocessing that made the crops.
        seed: seed of the global shuffle.
        target_bytes: upper mark of the mean shard size.
        options: workers, engine and time per shard; by default all is done in this process.
        on_progress: called with (rows done, rows in all) at the start and after each shard.
        left_out: how many samples were not even given, by what they are, for the dataset card.

    Raises:
        UsageError: `samples` is empty or lacks columns.
        TooManyFailures: no row could be written, or workers died; the previous shards stay.
        StorageError: not enough room, or the folder cannot be written.
        Interrupted: the user stopped it.
    """
    check_columns(samples)
    good, screened = screen(samples, spec)
    out = out.absolute()
    with storage_errors(out):
        work = Work.plan(plan_shards(good, seed, target_bytes), out)
        work.prepare()
        done = samples.height - sum(shard.rows.height for shard in work.todo)
        on_progress(done, samples.height)
        for job in work.run(blobs, options or EngineOptions(workers=1)):
            done += job.rows.height
            on_progress(done, samples.height)
        draft = Draft([(shard, work.finished[shard.name]) for shard in work.shards], screened)
        if not draft.samples:
            shutil.rmtree(work.stage)
            reasons = ", ".join(f"{reason} {count}" for reason, count in by_reason(draft.rejected).items())
            raise TooManyFailures(
                f"no sample could be sharded ({reasons}); run `mmidd verify` on the workspace"
            )
        index = draft.finish(work.stage, spec, seed, left_out or {})
        publish(work.stage, out, index)
    per_split = {split.value: sum(shard.samples for shard in index.of_split(split)) for split in Split}
    return ShardSummary(
        out=out,
        shards=len(index.shards),
        kept=work.kept,
        bytes=sum(shard.bytes for shard in index.shards),
        samples={split: count for split, count in per_split.items() if count},
        rejected=index.rejected,
    )
