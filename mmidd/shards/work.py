"""What a run of `write_shards` has to do, and doing it: the rest was finished by an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmidd.engine import EngineOptions
from mmidd.errors import StorageError
from mmidd.shards.blobs import Blobs
from mmidd.shards.content import json_of
from mmidd.shards.job import Job, unit_id
from mmidd.shards.layout import Planned, expected_bytes
from mmidd.shards.published import published
from mmidd.shards.run import run_jobs
from mmidd.shards.staging import Staged, check_room, staging_folder, tidy

_END = 10_240  # a tar's last record, at most


@dataclass
class Work:
    """The shards of a run, and what is known of them.

    Attributes:
        shards: all of them.
        out: where they are published.
        finished: those that are staged, or published and found unchanged.
        likely: those that seem to be published: their file's hash is not checked yet.
        kept: how many were not written by this run.
    """

    shards: list[Planned]
    out: Path
    finished: dict[str, Staged] = field(default_factory=dict)
    likely: dict[str, Staged] = field(default_factory=dict)
    kept: int = 0

    @classmethod
    def plan(cls, shards: list[Planned], out: Path) -> Work:
        """Look for what an earlier run left, staged or published; a shard that lacks rows does not count."""
        work = cls(shards, out)
        before = published(out, work.stage)
        for shard in shards:
            staged = _whole(Staged.load(work.stage, shard.name), shard)
            public = _whole(before.get(shard.name), shard)
            unit = unit_id(shard.name, json_of(shard.rows)) if staged or public else ""
            if staged and staged.unit == unit:
                work.finished[shard.name] = staged
            elif public and public.unit == unit:
                work.likely[shard.name] = public
        work.kept = len(work.finished)
        return work

    @property
    def stage(self) -> Path:
        """Where shards wait until all are finished."""
        return staging_folder(self.out)

    @property
    def todo(self) -> list[Planned]:
        """The shards that are not finished."""
        return [shard for shard in self.shards if shard.name not in self.finished]

    def prepare(self) -> None:
        """Make the staging folder, with nothing in it but this plan's shards and with room for the others."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if self.stage.exists():
            tidy(self.stage, self.finished)
        new = [shard for shard in self.todo if shard.name not in self.likely]
        check_room(self.out.parent, sum(_END + expected_bytes(shard.rows) for shard in new))
        self.stage.mkdir(exist_ok=True)

    def run(self, blobs: Blobs, options: EngineOptions) -> Iterator[Job]:
        """Finish what is to do; gives each job as it is done."""
        todo = self.todo
        for job, kept in run_jobs((self._job(shard, blobs) for shard in todo), len(todo), options):
            staged = self.likely[job.name] if kept else Staged.load(self.stage, job.name)
            if staged is None:
                raise StorageError(
                    f"{self.stage / job.name} was written by a worker but is not here; give --workspace a "
                    "folder that all machines share"
                )
            self.finished[job.name] = staged
            self.kept += kept
            yield job

    def _job(self, shard: Planned, blobs: Blobs) -> Job:
        likely = self.likely.get(shard.name)
        file = (self.out / shard.name, likely.sha256) if likely else None
        return Job(shard.name, shard.rows, blobs, self.stage, file)


def _whole(staged: Staged | None, shard: Planned) -> Staged | None:
    return staged if staged and staged.entries.height == shard.rows.height else None
