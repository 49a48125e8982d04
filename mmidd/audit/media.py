"""Findings about single videos and files, and about the mixture as a whole."""

from __future__ import annotations

import polars as pl

from mmidd.audit.rows import Findings, Kind, Severity, finding_rows, usable
from mmidd.schema import Label, Media, Status

_WARNING, _INFO = pl.lit(Severity.WARNING.value), pl.lit(Severity.INFO.value)

FEW = 0.5
"""Share of the wanted frames below which a video is more than a note."""

LOPSIDED = 10
"""Samples of one label per sample of the other from which a split is called lopsided."""

_FAILED = pl.col("status") == Status.FAILED.value
_OF_MASK = pl.col("reason").str.starts_with("mask_")


_FRAMES = (pl.col("media") == Media.VIDEO.value) | pl.col("frame_index").is_not_null()
_OFF_MASK = pl.col("reason") == "no_face_on_mask"


def coverage(rows: pl.LazyFrame, frames: int) -> list[Findings]:
    """Videos and stills without the faces that were wanted."""
    stills = rows.filter((pl.col("status") == Status.REJECTED.value) & ~_FRAMES & ~_OFF_MASK)
    return [_videos(rows, frames), _by_reason(stills, Kind.COVERAGE, "still_without_face")]


def _videos(rows: pl.LazyFrame, frames: int) -> Findings:
    """Videos of which fewer frames gave a face than were sampled; `count` is how many did."""
    used = (pl.col("status") == Status.OK.value).sum()
    whole = (_FAILED & (pl.col("media") == Media.VIDEO.value)).all()
    held = (
        rows.filter(_FRAMES & pl.col("video_id").is_not_null())
        .group_by("video_id")
        .agg(
            pl.col("source", "split", "label", "type").first(),
            count=used,
            wanted=pl.when(whole).then(pl.lit(frames)).otherwise(pl.len()),
            why=pl.col("reason").drop_nulls().value_counts(sort=True),
        )
        .filter(pl.col("count") < pl.col("wanted"))
        .collect(engine="streaming")
    )
    few = pl.col("count") < FEW * pl.col("wanted")
    return finding_rows(
        held,
        Kind.COVERAGE,
        check=pl.when(pl.col("count") == 0).then(pl.lit("no_usable_frame")).otherwise(pl.lit("fewer_frames")),
        severity=pl.when(few).then(_WARNING).otherwise(_INFO),
        key="video_id",
        **{f"a_{name}": pl.col(name) for name in ("source", "split", "label", "type")},
        a_video="video_id",
        detail=pl.format("{} of {} frames; {}", "count", "wanted", _reasons("why")),
    )


def _reasons(column: str) -> pl.Expr:
    of = pl.element().struct.field
    return pl.col(column).list.eval(pl.format("{} {}", of("reason"), of("count"))).list.join(", ")


def unreadable(rows: pl.LazyFrame) -> Findings:
    """Files that gave nothing, one finding per source and reason with three examples."""
    failed = rows.filter(_FAILED & ~_OF_MASK.fill_null(False))
    return _by_reason(failed, Kind.UNREADABLE, "file")


def _by_reason(rows: pl.LazyFrame, kind: Kind, check: str) -> Findings:
    held = rows.group_by("source", "reason").agg(
        count=pl.len(), detail=pl.col("src_path").drop_nulls().sort().head(3).str.join(", ")
    )
    return finding_rows(held, kind, check=check, severity=Severity.WARNING, key="reason", a_source="source")


def masks(rows: pl.LazyFrame) -> list[Findings]:
    """Where mask and label disagree.

    A fake frame with no face on its mask, a mask on a real, a fake video whose mask is empty in
    some frames, and mask files that cannot be used. The first three are one finding per video.
    """
    on_mask, fake = pl.col("role") == "mask", pl.col("label") == Label.FAKE.value
    samples = usable(rows)
    return [
        _by_video(rows.filter(_OFF_MASK), "no_face_on_mask", Severity.WARNING),
        _by_video(samples.filter(on_mask & ~fake), "mask_on_real", Severity.ERROR),
        _by_video(_partly(samples.filter(fake), on_mask), "empty_mask_on_fake", Severity.WARNING),
        _by_reason(rows.filter(_FAILED & _OF_MASK), Kind.MASK, "mask_file"),
    ]


def _partly(fakes: pl.LazyFrame, on_mask: pl.Expr) -> pl.LazyFrame:
    masked = fakes.filter(on_mask).select("video_id").unique()
    return fakes.filter(~on_mask).join(masked, on="video_id", how="semi")


def _by_video(rows: pl.LazyFrame, check: str, severity: Severity) -> Findings:
    held = rows.group_by("video_id").agg(
        pl.col("source", "split", "label", "type").first(), pl.col("sample_id").min(), count=pl.len()
    )
    return finding_rows(
        held,
        Kind.MASK,
        check=check,
        severity=severity,
        key="video_id",
        a_id="sample_id",
        **{f"a_{name}": pl.col(name) for name in ("source", "split", "label", "type")},
        a_video="video_id",
        detail=pl.format("{} frames", "count"),
    )


def balance(samples: pl.LazyFrame) -> list[Findings]:
    """Samples per source, split and type; and splits with one label only or far more of one."""
    held = samples.group_by("source", "split", "label", "type").len("count")
    counted = finding_rows(
        held,
        Kind.BALANCE,
        check="count",
        severity=_INFO,
        **{f"a_{name}": pl.col(name) for name in ("source", "split", "label", "type")},
    )
    real, fake = (pl.col("label").eq(label.value).sum().cast(pl.Int64) for label in Label)
    splits = (
        samples.group_by("split")
        .agg(real=real, fake=fake)
        .with_columns(least=pl.min_horizontal("real", "fake"), most=pl.max_horizontal("real", "fake"))
    )
    lopsided = finding_rows(
        splits.filter(pl.col("most") > LOPSIDED * pl.col("least")),
        Kind.BALANCE,
        check=pl.when(pl.col("least") == 0).then(pl.lit("one_label")).otherwise(pl.lit("lopsided")),
        severity=_WARNING,
        a_split="split",
        count="most",
        detail=pl.format("{} real, {} fake", "real", "fake"),
    )
    return [counted, lopsided]


def overlaps(samples: pl.LazyFrame) -> Findings:
    """Material that two sources declare to share: one finding per pair of sources and kind of key."""
    some = samples.filter(pl.col("overlap_ids").list.len() > 0)
    held = some.select("source", "sample_id", key="overlap_ids").explode("key")
    each = held.group_by("key", "source").agg(pl.col("sample_id").min())
    both = each.join(each, on="key", suffix="_b").filter(pl.col("source") < pl.col("source_b"))
    found = (
        both.sort("key")
        .group_by("source", "source_b", group=pl.col("key").str.split("/").list.first(), maintain_order=True)
        .agg(
            count=pl.len(),
            a_id=pl.col("sample_id").first(),
            b_id=pl.col("sample_id_b").first(),
            example=pl.col("key").first(),
        )
    )
    return finding_rows(
        found,
        Kind.OVERLAP,
        check="sources",
        severity=_INFO,
        key="group",
        detail=pl.format("{} keys such as {}", "count", "example"),
    )
