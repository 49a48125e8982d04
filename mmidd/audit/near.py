"""Near duplicates: samples of different originals whose perceptual hashes differ in few bits."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmidd.audit.hamming import Pairs, iter_near_pairs
from mmidd.audit.leaks import CROSSINGS
from mmidd.audit.rows import FAMILY, Findings, Kind, Severity, finding_rows
from mmidd.errors import UsageError
from mmidd.schema import Split

CONFLICT_RADIUS = 2
"""Bits up to which two pictures count as the same one, so that their labels must agree."""

COMMON = 64
"""Videos that share one hash from which they are linked through representatives only."""

MOST_PAIRS = 20_000_000

_CLASS = ("phash", "source", "split", "label", "type")


def near_duplicates(samples: pl.LazyFrame, radius: int) -> tuple[Findings, Findings]:
    """Near duplicates and, of those, the ones with different labels.

    One finding per pair of videos or stills with its nearest samples; `count` is how many pairs of
    samples are that near. A fake, its original and the other fakes of that are not compared.
    """
    items = _items(samples)
    pairs = _by_video(items, radius)
    known = _described(samples, pairs)
    near = finding_rows(known, Kind.NEAR_DUPLICATE, check=_check(), severity=_severity())
    differ = (pl.col("a_label") != pl.col("b_label")) | (pl.col("a_type") != pl.col("b_type"))
    contradictions = known.filter(differ & (pl.col("distance") <= CONFLICT_RADIUS))
    return near, finding_rows(contradictions, Kind.CONFLICT, check="near", severity=Severity.WARNING)


def _items(samples: pl.LazyFrame) -> pl.DataFrame:
    """One sample per hash and video, in the order of `sample_id`; the strings as numbers."""
    number = [pl.col(name).fill_null("").cast(pl.Categorical).to_physical() for name in _CLASS[1:]]
    return (
        samples.filter(pl.col("phash").str.contains("^[0-9a-f]{16}$"))
        .select(
            "sample_id",
            *number,
            pl.col("phash").str.decode("hex").bin.reinterpret(dtype=pl.UInt64, endianness="big"),
            video=pl.coalesce("video_id", "sample_id").hash(),
            family=FAMILY.hash(),
        )
        .sort("sample_id")
        .unique(["phash", "video"], keep="first", maintain_order=True)
        .collect()
        .with_columns(pl.col(name).rank("dense").cast(pl.Int64) for name in ("video", "family"))
    )


def _by_video(items: pl.DataFrame, radius: int) -> pl.DataFrame:
    """The nearest pair of samples `a_id`, `b_id` of every near pair of videos."""
    common = items.with_row_index("item").filter(pl.len().over("phash") > COMMON)
    chosen = common.unique(_CLASS, keep="first", maintain_order=True)
    rest = common.join(chosen, on="item", how="anti")
    searched = np.setdiff1d(np.arange(items.height), rest["item"].to_numpy(), assume_unique=True)
    hashes, families, videos = (items[name].to_numpy() for name in ("phash", "family", "video"))
    best = _nearest(_linked(rest, chosen), videos)
    for found in iter_near_pairs(hashes[searched], radius, families[searched]):
        if len(found):
            found = Pairs(searched[found.i], searched[found.j], found.distance)
            best = _merged(pl.concat([best, _nearest(found, videos)]))
        if best.height > MOST_PAIRS:
            raise UsageError(f"over {MOST_PAIRS:,} near duplicates; give a --radius below {radius}")
    ids = items["sample_id"]
    return best.select("distance", "count", a_id=ids.gather(best["i"]), b_id=ids.gather(best["j"]))


def _linked(rest: pl.DataFrame, chosen: pl.DataFrame) -> Pairs:
    """Every sample of a common hash with the representatives of that hash."""
    both = rest.join(chosen, on="phash", suffix="_b").filter(pl.col("family") != pl.col("family_b"))
    i, j = (both[name].cast(pl.Int64).to_numpy() for name in ("item", "item_b"))
    return Pairs(np.minimum(i, j), np.maximum(i, j), np.zeros(len(i), np.uint8))


def _nearest(pairs: Pairs, videos: NDArray[np.int64]) -> pl.DataFrame:
    a, b = videos[pairs.i], videos[pairs.j]
    columns = {
        "u": np.minimum(a, b),
        "v": np.maximum(a, b),
        "distance": pairs.distance,
        "i": pairs.i,
        "j": pairs.j,
        "count": np.ones(len(pairs), np.int64),
    }
    return _merged(pl.DataFrame(columns))


def _merged(pairs: pl.DataFrame) -> pl.DataFrame:
    """One row per pair of videos: the nearest samples, the first of equals, and how many there are."""
    ordered = pairs.sort("distance", "i", "j")
    best = pl.col("distance", "i", "j").first()
    return ordered.group_by("u", "v", maintain_order=True).agg(best, pl.col("count").sum())


def _described(samples: pl.LazyFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs with what is known of both samples, the one of the earlier split first.

    Pairs with the same bytes are left out: they are exact duplicates.
    """
    ids = pl.concat([pairs["a_id"], pairs["b_id"]]).unique()
    shown = samples.select(
        id="sample_id",
        source="source",
        split=pl.col("split").fill_null(Split.NONE.value),
        label="label",
        type="type",
        video="video_id",
        file="src_sha256",
        crop="sha256",
        known=pl.concat_list(pl.col(name).fill_null([]) for name in ("overlap_ids", "identity_ids")),
    )
    known = shown.filter(pl.col("id").is_in(ids.implode())).collect()
    for side in "ab":
        columns = known.select(pl.all().name.prefix(f"{side}_"))
        pairs = pairs.join(columns, on=f"{side}_id", how="left")
    same = pl.any_horizontal(pl.col(f"a_{name}").eq(pl.col(f"b_{name}")) for name in ("file", "crop"))
    late = pl.col("a_split").replace_strict(_ORDER) > pl.col("b_split").replace_strict(_ORDER)
    shared = pl.col("a_known").list.set_intersection("b_known").list.sort().list.first()
    return pairs.filter(~same.fill_null(False)).select(
        "distance",
        "count",
        *(
            pl.when(late).then(f"{other}_{name}").otherwise(f"{side}_{name}").alias(f"{side}_{name}")
            for side, other in ("ab", "ba")
            for name in ("id", "source", "split", "label", "type", "video")
        ),
        key=shared,
    )


_ORDER = {split.value: number for number, split in enumerate(Split)}


def _severity() -> pl.Expr:
    """That of the crossing; inside a split it is only for the record if the sources declare it."""
    within = pl.when(pl.col("key").is_null()).then(pl.lit("warning")).otherwise(pl.lit("info"))
    for first, second, severity in CROSSINGS:
        crosses = (pl.col("a_split") == first.value) & (pl.col("b_split") == second.value)
        within = pl.when(crosses).then(pl.lit(severity.value)).otherwise(within)
    return within


def _check() -> pl.Expr:
    """Where the two lie: `within_source` or `across_sources`, and `across_splits` before both."""
    crosses = pl.col("a_split") != pl.col("b_split")
    sources = (
        pl.when(pl.col("a_source") != pl.col("b_source"))
        .then(pl.lit("across_sources"))
        .otherwise(pl.lit("within_source"))
    )
    return pl.when(crosses).then(pl.lit("across_splits")).otherwise(sources)


def near_leaking(samples: pl.LazyFrame, found: Findings) -> pl.DataFrame:
    """The samples to leave out: whole videos that have a near copy in a later split."""
    crosses = pl.struct("a_split", "b_split").is_in(
        [{"a_split": a.value, "b_split": b.value} for a, b, _ in CROSSINGS]
    )
    near = found.filter((pl.col("kind") == Kind.NEAR_DUPLICATE.value) & crosses)
    videos = near.select(video_id="a_video", split="a_split", key="b_video").unique(["video_id", "split"])
    hit = samples.join(videos.lazy(), on=["video_id", "split"])
    return hit.select("sample_id", "key", reason=pl.lit("leak_near_duplicate")).collect()
