"""Copy a folder of shards to where others read it, file by file, the index last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.shards.index import INDEX_FILE, REJECTED_FILE, SAMPLES_FILE, ShardIndex
from mmidd.storage import Folder


@dataclass(frozen=True)
class Published:
    """What was copied: files, and how many shards were there already."""

    where: str
    files: int
    kept: int


def publish(
    out: Path, target: Folder, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Published:
    """Copy finished shards; those that the target's index lists with the same hash are there already.

    A reader checks hashes against the index, so while an older index is still there it may find a shard to be
    another one, but never takes it for its own.

    Args:
        out: folder of shards on this machine.
        target: where they go.
        on_progress: called with (bytes done, bytes in all).

    Raises:
        UsageError: there are no shards.
        StorageError: the target cannot be written.
    """
    index = ShardIndex.load(out)
    there = _there(target)
    new = [shard for shard in index.shards if there.get(shard.name) != shard.sha256]
    documents = [SAMPLES_FILE, REJECTED_FILE, *index.documents, INDEX_FILE]
    done, total = 0, sum(shard.bytes for shard in new)
    for shard in new:
        target.write(shard.name, out / shard.name)
        on_progress(done := done + shard.bytes, total)
    for name in documents:
        target.write(name, out / name)
    return Published(target.where, len(new) + len(documents), len(index.shards) - len(new))


def _there(target: Folder) -> dict[str, str]:
    """Hashes of the shards that the target lists; none where its index is of another version."""
    if not target.exists(INDEX_FILE):
        return {}
    try:
        return {shard.name: shard.sha256 for shard in ShardIndex.load(target).shards}
    except UsageError:
        return {}
