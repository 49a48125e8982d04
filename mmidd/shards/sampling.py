"""What an epoch draws: every sample once, or groups in declared shares, alone or in pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mmidd.errors import UsageError

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]


class Columns(Protocol):
    """Label columns of the samples, as `ShardDataset.column`."""

    def column(self, name: str) -> pa.ChunkedArray: ...  # noqa: D102
    def __len__(self) -> int: ...


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Level(_Frozen):
    """How the groups that a column makes share the draws.

    A group of n samples has a share proportional to its weight times n^exponent: 0 gives every
    group the same, 1 what it has in the data, and between them lies the usual temperature 1/T
    (0.5 is the square root of the size).
    """

    column: Literal["label", "type", "method", "source", "compression"]
    exponent: float = Field(default=0.0, ge=0, le=1)
    weights: Mapping[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


def _named(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class Sampling(_Frozen):
    """What an epoch draws; as it is, every sample exactly once.

    Attributes:
        by: levels of groups, each within the one before; a bare column name means equal shares.
        pair: draw fakes alone, each followed by its own real.
        apart: keep draws of one video, or of one family of equal `pair_id`, out of each other's batch.
        draws: draws in an epoch (of pairs where `pair`); none for as many as it takes to see every sample.
        window: shards that are mixed at a time; none mixes all. What is read from afar or from
            spinning disks needs a window, what lies on a fast local disk does not.
    """

    by: tuple[Annotated[Level, BeforeValidator(_named)], ...] = ()
    pair: bool = False
    apart: Literal["video", "family"] | None = None
    draws: int | None = Field(default=None, ge=1)
    window: int | None = Field(default=None, ge=1)


def encode(column: pa.ChunkedArray) -> tuple[list[str], Codes]:
    """Sorted distinct values of a text column, and the number of each row's among them, -1 for null."""
    coded = column.dictionary_encode().unify_dictionaries()
    if coded.num_chunks == 0:
        return [], np.empty(0, dtype=np.int32)
    names = coded.chunk(0).dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names) + 1, dtype=np.int32)
    rank[order], rank[-1] = np.arange(len(names), dtype=np.int32), -1
    parts = [np.asarray(chunk.indices.fill_null(len(names))) for chunk in coded.chunks]
    return [names[i] for i in order], rank[np.concatenate(parts)]


def groups_and_shares(columns: Columns, levels: tuple[Level, ...], among: Codes) -> tuple[Codes, Floats]:
    """Group of each of the samples `among` (indices), counted from 0, and each group's share of the draws.

    Raises:
        UsageError: a weight names a value that does not occur.
    """
    group, share = np.zeros(len(among), dtype=np.int64), np.ones(1)
    for level in levels:
        names, codes = encode(columns.column(level.column))
        if unknown := sorted(set(level.weights) - set(names)):
            raise UsageError(f"sampling.by: {level.column} {unknown[0]!r} does not occur; {_known(names)}")
        weight = np.array([1.0, *(level.weights.get(name, 1.0) for name in names)])  # null first
        joint = group * len(weight) + codes[among] + 1
        found, group, sizes = np.unique(joint, return_inverse=True, return_counts=True)
        parent, value = np.divmod(found, len(weight))
        pull = weight[value] * sizes.astype(float) ** level.exponent
        share = share[parent] * pull / np.bincount(parent, pull)[parent]
    return group.astype(np.int32), share


def _known(names: list[str]) -> str:
    return f"there are {', '.join(names) or 'no values'}"


def draws_of(sizes: NDArray[np.int64], share: Floats, draws: int | None) -> NDArray[np.int64]:
    """How often an epoch draws from each group.

    Without `draws` so often that every sample is seen: the group that is largest for its share
    is gone through once.
    """
    total = np.max(sizes / share) if draws is None else draws
    return np.rint(share * total).astype(np.int64)
