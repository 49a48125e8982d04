"""What a folder of shards holds, for the documents that describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from mmidd.ingest.base import SourceInfo, load_readers
from mmidd.shards.index import ShardIndex

TITLE = "Face crops and their forgeries (mmidd)"

TERMS = "You may only share this where every source's terms allow it."

UNKNOWN = "not stated"

_OPTIONAL = ("media", "licence", "recipe", "face", "environment")
_LICENCES = 8  # a source may state one for every image


@dataclass(frozen=True)
class Contents:
    """A complete folder of shards, for those who describe it.

    Attributes:
        index: everything but the documents.
        rows: the rows written, with the columns of their JSON.
        members: extensions of the members that samples have, such as jpg, mask.png, json.
        masks: samples with a mask.
        left_out: samples that were not even tried, by what they are.
    """

    index: ShardIndex
    rows: pl.DataFrame
    members: tuple[str, ...]
    masks: int
    left_out: Mapping[str, int]

    @cached_property
    def known(self) -> pl.DataFrame:
        """The rows with every column that documents speak of, null where they have none."""
        absent = [pl.lit(None, pl.String).alias(name) for name in _OPTIONAL if name not in self.rows.columns]
        return self.rows.with_columns(absent)

    @property
    def splits(self) -> list[str]:
        """Splits that have shards, in their order."""
        return list(dict.fromkeys(shard.split.value for shard in self.index.shards))


def source_info(source: str) -> SourceInfo | None:
    """What mmidd knows of a source; None for one that the user described."""
    reader = load_readers().get(source)
    return reader.info if reader and reader.info.key == source else None


def licences(contents: Contents) -> dict[str, str]:
    """The terms of every source: its own, then what its samples state, the most frequent first."""
    rows = contents.known
    found = {}
    for source in sorted(rows["source"].unique()):
        info = source_info(source)
        own = [info.licence] if info else []
        counted = rows.filter(pl.col("source") == source).get_column("licence").drop_nulls().value_counts()
        stated = counted.sort("count", "licence", descending=[True, False])["licence"].to_list()
        names = list(dict.fromkeys([*own, *stated]))
        more = f"and {len(names) - _LICENCES} more" if len(names) > _LICENCES else ""
        found[source] = "; ".join(filter(None, [*names[:_LICENCES], more])) or UNKNOWN
    return found
