"""Fewer reals to train on, chosen so that a smaller choice lies within every larger one."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from mmidd.errors import UsageError
from mmidd.shards.reading import Indices


def spread(rows: pl.DataFrame, count: int, seed: int) -> Indices:
    """Indices of `count` of the rows, ascending, of as many people and of their videos as can be.

    Every person in turn gives a real, each time of the video that gave the fewest so far; who comes first
    is told by hashes of the seed with people, videos and keys. So fewer rows are always among more, and the
    choice depends neither on the order of the rows nor on the number of shards.

    Args:
        rows: `key`, `video_id` and `identity_ids` (the first is the person; without one every video has a
            person of its own) of the reals.
        count: how many.
        seed: of the run.

    Raises:
        UsageError: there are fewer rows than that.
    """
    if count > len(rows):
        raise UsageError(
            f"the training split has {len(rows)} reals with landmarks, and reals asks for {count}; "
            "set it lower, or ingest more"
        )
    video = pl.col("video_id")
    person = pl.coalesce(pl.col("identity_ids").list.first(), pl.concat_str(pl.lit("video "), video))
    named = rows.select(pl.col("key"), video, person.alias("person")).with_row_index("row")
    drawn = named.with_columns(_hashed(named[name], seed) for name in ("key", "video_id", "person"))
    turns = (
        drawn.sort("key")
        .with_columns(_turn("video_id"))
        .sort("turn", "video_id")
        .with_columns(_turn("person"))
        .sort("turn", "person")
    )
    return np.sort(turns["row"].head(count).to_numpy()).astype(np.int32)


def _turn(group: str) -> pl.Expr:
    """How many rows of the same group stand above."""
    return pl.int_range(pl.len()).over(group).alias("turn")


def _hashed(names: pl.Series, seed: int) -> pl.Series:
    digests = (hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).hexdigest() for name in names)
    return pl.Series(names.name, digests, dtype=pl.String)
