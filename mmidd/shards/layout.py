"""Which rows of a manifest go into which shard, and in what order.

The shard of a sample is the leading bits of hash(seed, sample_id), and the order inside a shard
is that hash: a global shuffle in which a changed row changes only its own shard, as long as
the number of shards of the split (a power of two chosen by size) stays the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from mmidd.errors import UsageError
from mmidd.schema import Split
from mmidd.shards.index import LABEL_COLUMNS
from mmidd.spec import PreprocessSpec

EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""File extension of each crop encoding."""

_KEY = r"^[0-9a-z][0-9a-z_-]{0,89}$"
_OVERHEAD = 4096  # allowance per sample for two tar headers, the JSON and padding


@dataclass(frozen=True)
class Rejected:
    """A manifest row that is left out, with a short reason that summaries count."""

    sample_id: str | None
    split: str | None
    reason: str
    detail: str = ""


def check_columns(samples: pl.DataFrame) -> None:
    """Stop at a table that cannot be sharded at all.

    Raises:
        UsageError: it is empty or lacks columns.
    """
    needed = {"sample_id", "length", "sha256", "encoding", "spec_id", *LABEL_COLUMNS}
    if missing := sorted(needed - set(samples.columns)):
        raise UsageError(f"samples lack the columns {', '.join(missing)}; pass rows of schema.SAMPLES")
    if samples.is_empty():
        raise UsageError("there are no samples to shard; run `mmidd ingest` first")


def screen(samples: pl.DataFrame, spec: PreprocessSpec) -> tuple[pl.DataFrame, list[Rejected]]:
    """Part rows that may be written from rows whose columns already rule them out."""
    faults = {
        "bad_key": ~pl.col("sample_id").str.contains(_KEY),
        "duplicate_key": pl.col("sample_id").is_duplicated(),
        "bad_split": ~pl.col("split").is_in([split.value for split in Split]),
        "bad_encoding": ~pl.col("encoding").is_in(list(EXTENSIONS)),
        "other_spec": pl.col("spec_id") != spec.spec_id,
        "incomplete": pl.any_horizontal(pl.col("source", "label", "type", "length", "sha256").is_null()),
    }
    reason = pl.coalesce(
        pl.when(fault.fill_null(value=True)).then(pl.lit(name)) for name, fault in faults.items()
    )
    marked = samples.with_columns(reason.alias("__reason"))
    bad = marked.filter(pl.col("__reason").is_not_null()).select("sample_id", "split", "__reason")
    rejected = [Rejected(key, split, reason, "") for key, split, reason in bad.iter_rows()]
    return marked.filter(pl.col("__reason").is_null()).drop("__reason"), rejected


def shuffled(samples: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Rows in the order of hash(seed, sample_id), which becomes the column `__hash`."""
    hashes = pl.Series("__hash", [_hash(seed, key) for key in samples["sample_id"]], dtype=pl.UInt64)
    return samples.with_columns(hashes).sort("__hash", "sample_id")


def _hash(seed: int, sample_id: str) -> int:
    digest = hashlib.blake2b(f"{seed}:{sample_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def expected_bytes(samples: pl.DataFrame) -> int:
    """Room that the samples take in shards, on the safe side."""
    masks = int(samples["mask_length"].sum()) if "mask_length" in samples.columns else 0
    return int(samples["length"].sum()) + masks + _OVERHEAD * samples.height


def shards_of(samples: pl.DataFrame, target_bytes: int) -> Iterator[pl.DataFrame]:
    """Cut one split's rows, in hash order, into a power of two of equal ranges of the hash."""
    if samples.is_empty():
        return
    count = 1
    while count * target_bytes < expected_bytes(samples) and count < samples.height:
        count *= 2
    starts = np.array([number * 2**64 // count for number in range(count)], dtype=np.uint64)
    cuts = [*np.searchsorted(samples["__hash"].to_numpy(), starts), samples.height]
    for low, high in pairwise(cuts):
        yield samples[low:high].drop("__hash")


def short_floats(rows: pl.DataFrame) -> pl.DataFrame:
    """Replace 32-bit floats by the 64-bit ones with the same shortest decimal text."""
    types = rows.schema.items()
    text = [pl.col(name).cast(_retyped(dtype, pl.String())) for name, dtype in types]
    wide = [pl.col(name).cast(_retyped(dtype, pl.Float64())) for name, dtype in types]
    return rows.select(text).select(wide)


def _retyped(dtype: Any, leaf: pl.DataType) -> Any:
    """The type with `leaf` in the place of Float32, at any depth of lists."""
    match dtype:
        case pl.Float32():
            return leaf
        case pl.List():
            return pl.List(_retyped(dtype.inner, leaf))
        case pl.Array():
            return pl.Array(_retyped(dtype.inner, leaf), dtype.size)
        case _:
            return dtype
