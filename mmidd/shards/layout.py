"""Which rows of a manifest go into which shard, and in what order.

The shard of a sample is the leading bits of hash(seed, pair_id), or of hash(seed, sample_id) where
it has no pair_id, so a fake and its own real lie together; the order inside a shard is that of
hash(seed, sample_id). A changed row changes only its own shard, as long as the number of shards of
the split (a power of two chosen by size) stays the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from mmidd.errors import UsageError
from mmidd.schema import Split
from mmidd.shards.content import not_finite
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


@dataclass(frozen=True)
class Planned:
    """A shard to be: its file name, and its rows in their order."""

    name: str
    split: Split
    rows: pl.DataFrame


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
        "not_json": not_finite(samples),
    }
    reason = pl.coalesce(
        pl.when(fault.fill_null(value=True)).then(pl.lit(name)) for name, fault in faults.items()
    )
    marked = samples.with_columns(reason.alias("__reason"))
    bad = marked.filter(pl.col("__reason").is_not_null()).select("sample_id", "split", "__reason")
    rejected = [Rejected(key, split, reason, "") for key, split, reason in bad.iter_rows()]
    return marked.filter(pl.col("__reason").is_null()).drop("__reason"), rejected


def expected_bytes(samples: pl.DataFrame) -> int:
    """Room that the samples take in shards, on the safe side."""
    masks = int(samples["mask_length"].sum()) if "mask_length" in samples.columns else 0
    return int(samples["length"].sum()) + masks + _OVERHEAD * samples.height


def plan_shards(samples: pl.DataFrame, seed: int, target_bytes: int) -> list[Planned]:
    """Spread the rows of every split over a power of two of shards, by families.

    Args:
        samples: rows that passed `screen`.
        seed: seed of the shuffle, which does not depend on the order of the rows.
        target_bytes: upper mark of the mean shard size.
    """
    family = _hashes(samples.select(pl.coalesce("pair_id", "sample_id")).to_series(), seed)
    order = _hashes(samples["sample_id"], seed)
    hashed = samples.with_columns(family.alias("__family"), order.alias("__order"))
    planned = []
    for split in Split:
        of_split = hashed.filter(pl.col("split") == split.value)
        for number, rows in enumerate(_cut(of_split, target_bytes)):
            planned.append(Planned(f"{split.value}-{number:05d}.tar", split, rows))
    return planned


def _cut(samples: pl.DataFrame, target_bytes: int) -> Iterator[pl.DataFrame]:
    """Cut one split into equal ranges of the families' hash, each in the order of the samples' hash."""
    if samples.is_empty():
        return
    count, families = 1, samples["__family"].n_unique()
    while count * target_bytes < expected_bytes(samples) and count < families:
        count *= 2
    bounds = np.array([number * 2**64 // count for number in range(1, count)], dtype=np.uint64)
    shard = pl.Series("__shard", np.searchsorted(bounds, samples["__family"].to_numpy(), side="right"))
    ordered = samples.with_columns(shard).sort("__shard", "__order", "sample_id")
    cuts = np.searchsorted(ordered["__shard"].to_numpy(), np.arange(count + 1))
    for low, high in pairwise(cuts):
        yield ordered[low:high].drop("__shard", "__family", "__order")


def _hashes(keys: pl.Series, seed: int) -> pl.Series:
    """64-bit hashes of the keys with the seed."""
    digests = (hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys)
    return pl.Series(np.frombuffer(b"".join(digests), ">u8").astype(np.uint64))
