"""Fetch a remote folder's shards before their turn, and keep them until nobody needs them any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mmidd.errors import DataError
from mmidd.shards.index import Shard
from mmidd.storage import Folder, ReadAhead

Indices = NDArray[np.int32]
Needs = Callable[[Indices], None]
"""Called with the samples of a batch before it is read."""

_DEPTH = 2
"""Shards fetched beyond those in use."""


@contextmanager
def read_ahead(
    folder: Folder, shards: Sequence[Shard], shard_of: Indices, batches: Iterable[Indices]
) -> Iterator[Needs]:
    """Have shards in the cache when they are needed, and locked there until their last sample was asked for.

    A shard that cannot be used is left to those who read its samples: they say which these are.

    Args:
        folder: a remote folder.
        shards: all that are read.
        shard_of: (samples,) index into `shards` of each sample.
        batches: samples of every batch, in the order they are read.
    """
    used = shard_of[np.concatenate([*batches, np.empty(0, dtype=np.int32)])]
    turns, first = np.unique(used, return_index=True)
    last = dict(zip(*_last_uses(used), strict=True))
    turns = turns[np.argsort(first)]
    place = {int(shard): turn for turn, shard in enumerate(turns)}
    upcoming = ((shards[i].name, shards[i].bytes, shards[i].sha256) for i in turns)
    held: dict[int, BinaryIO] = {}
    done = 0
    with ExitStack() as stack:
        ahead = stack.enter_context(ReadAhead(folder, upcoming, _DEPTH))
        stack.callback(lambda: [file.close() for file in held.values()])
        next_turn = 0

        def need(samples: Indices) -> None:
            nonlocal done, next_turn
            latest = max(place[int(shard)] for shard in np.unique(shard_of[samples]))
            while next_turn <= latest:
                with suppress(DataError):
                    held[int(turns[next_turn])] = ahead.advance(next_turn)
                next_turn += 1
            for shard in [shard for shard in held if last[shard] < done]:
                held.pop(shard).close()
            done += len(samples)

        yield need


def _last_uses(used: Indices) -> tuple[list[int], list[int]]:
    """The distinct shards, and the position of the last sample of each."""
    shards, first_from_the_end = np.unique(used[::-1], return_index=True)
    return shards.tolist(), (len(used) - 1 - first_from_the_end).tolist()
