"""Samples with the same bytes: duplicates, and conflicts where their labels differ."""

from __future__ import annotations

import polars as pl

from mmidd.audit.rows import Findings, Kind, Severity, finding_rows

_CLASS = pl.concat_str("label", "type", separator=" ", ignore_nulls=True)


def files(samples: pl.LazyFrame) -> pl.LazyFrame:
    """The samples whose media file is, byte for byte, also that of another video or still."""
    return _shared(samples, "src_sha256", "video_id")


def crops(samples: pl.LazyFrame) -> pl.LazyFrame:
    """The samples whose crop is, byte for byte, also one from another file that differs."""
    return _shared(samples, "sha256", "src_sha256", "video_id")


def _shared(samples: pl.LazyFrame, column: str, *differ: str) -> pl.LazyFrame:
    """The samples with a value that others with another `differ` have too; the value is `key`."""
    several = pl.all_horizontal(pl.col(name).min() != pl.col(name).max() for name in differ)
    values = samples.drop_nulls(column).group_by(column).agg(several=several).filter("several")
    return samples.join(values, on=column, how="semi").with_columns(key=column)


def duplicates(samples: pl.LazyFrame) -> list[Findings]:
    """One finding per video that repeats another: `a` is the first by `sample_id`, `b` the repeat."""
    return [_repeats(files(samples), "file"), _repeats(crops(samples), "crop")]


def _repeats(members: pl.LazyFrame, name: str) -> Findings:
    each = members.group_by("key", "video_id").agg(pl.col("sample_id").min()).collect(engine="streaming")
    first = each.sort("sample_id").group_by("key", maintain_order=True).first()
    pairs = each.join(first, on="key", suffix="_first").filter(
        pl.col("sample_id") != pl.col("sample_id_first")
    )
    found = pairs.group_by("video_id_first", "video_id").agg(
        pl.col("key").sort_by("sample_id").first(),
        b_id=pl.col("sample_id").min(),
        a_id=pl.col("sample_id_first").sort_by("sample_id").first(),
        count=pl.len(),
    )
    return finding_rows(found, Kind.DUPLICATE, check=name, severity=Severity.WARNING)


def conflicts(samples: pl.LazyFrame) -> list[Findings]:
    """One finding per bytes with more than one label or type: a sample of the first and of the last."""
    return [_contradictions(files(samples), "file"), _contradictions(crops(samples), "crop")]


def _contradictions(members: pl.LazyFrame, name: str) -> Findings:
    named = members.with_columns(of=_CLASS)
    held = named.group_by("key", "of").agg(pl.col("sample_id").min(), count=pl.len())
    found = (
        held.filter(pl.len().over("key") > 1)
        .sort("key", "of")
        .group_by("key", maintain_order=True)
        .agg(
            a_id=pl.col("sample_id").first(),
            b_id=pl.col("sample_id").last(),
            count=pl.col("count").sum(),
            detail=pl.concat_str("count", "of", separator=" ").str.join(", "),
        )
    )
    return finding_rows(found, Kind.CONFLICT, check=name, severity=Severity.ERROR)


def conflicting(samples: pl.LazyFrame, found: Findings) -> pl.DataFrame:
    """The samples to leave out for byte-identical contradictions: `sample_id`, `reason`, `key`."""
    of_bytes = found.filter(pl.col("kind") == Kind.CONFLICT.value)
    parts = []
    for name, column in (("file", "src_sha256"), ("crop", "sha256")):
        keys = of_bytes.filter(pl.col("check") == name).select("key").unique().lazy()
        hit = samples.join(keys, left_on=column, right_on="key", how="semi")
        parts.append(hit.select("sample_id", key=column, reason=pl.lit(f"conflict_{name}")).collect())
    return pl.concat(parts)


def repeated(samples: pl.LazyFrame) -> pl.DataFrame:
    """The samples to leave out as repeats; of equal bytes those of the first video stay."""
    parts = []
    for name, members in (("file", files(samples)), ("crop", crops(samples))):
        own = members.select("sample_id", "key", "video_id")
        kept = own.sort("sample_id").group_by("key", maintain_order=True).first()
        rest = own.join(kept, on="key", suffix="_kept").filter(pl.col("video_id") != pl.col("video_id_kept"))
        parts.append(rest.select("sample_id", "key", reason=pl.lit(f"duplicate_{name}")).collect())
    return pl.concat(parts)
