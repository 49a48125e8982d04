"""From a scores file to the items that metrics count: frames or videos, and groups of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmidd.errors import DataError, UsageError
from mmidd.evaluation.protocol import Aggregation, Level
from mmidd.schema import SCORES, ForgeryType, Split

GroupKind = Literal["all", "type", "method", "source"]

_VIDEO = ("source", "compression", "method", "video_key")


@dataclass(frozen=True)
class Group:
    """Items of one row of the tables; `note` says where reals were borrowed from."""

    kind: GroupKind
    name: str
    items: pl.DataFrame
    note: str = ""


def load_scores(path: Path) -> pl.DataFrame:
    """The scores of a file in schema.SCORES.

    Raises:
        UsageError: the file is missing or not such a table.
        DataError: scores outside [0, 1] or not numbers, labels other than 0 and 1, or a
            sample scored twice.
    """
    try:
        scores = pl.DataFrame(pq.read_table(path).select(SCORES.names).cast(SCORES))
    except FileNotFoundError:
        raise UsageError(f"no scores at {path}; run `mmidd eval RUN` first") from None
    except (pa.ArrowException, KeyError) as error:
        raise UsageError(f"{path} is not a table of scores ({str(error).splitlines()[0]})") from None
    faults = {
        "bad_score": ~pl.col("score").is_between(0, 1).fill_null(value=False) | pl.col("score").is_nan(),
        "bad_label": ~pl.col("label").is_in([0, 1]).fill_null(value=False),
        "duplicate_sample": pl.col("sample_id").is_duplicated(),
    }
    for reason, fault in faults.items():
        bad = scores.filter(fault)
        if len(bad):
            raise DataError(
                reason, f"{len(bad)} rows of {path.name}, first {bad['sample_id'][0]}; score again"
            )
    return scores


def of_split(scores: pl.DataFrame, split: Split) -> pl.DataFrame:
    """Rows of one split."""
    return scores.filter(pl.col("split") == split.value)


def items(scores: pl.DataFrame, level: Level, aggregation: Aggregation) -> pl.DataFrame:
    """What a level counts, with the columns source, type, method, label, score (float64),
    cluster, predicted_type, frames and, of the frame farthest on the video's side, sample_id.

    A video is a `video_id` within source, compression and method, so that equal folder names
    are never pooled; a sample without one is its own video. The cluster is the identity where
    known, else the video.

    Raises:
        DataError: a video holds both labels.
    """  # noqa: D205
    keyed = with_cluster(scores).with_columns(pl.col("score").cast(pl.Float64))
    if level is Level.FRAME:
        return keyed.with_columns(frames=pl.lit(1, pl.UInt32)).sort("sample_id")
    score = pl.col("score")
    ranked = keyed.sort("sample_id")
    extreme = pl.when(pl.col("label").first() == 1).then(score.arg_min()).otherwise(score.arg_max())
    videos = ranked.group_by(_VIDEO, maintain_order=True).agg(
        pl.col("type", "label", "cluster").first(),
        aggregated(score, aggregation).alias("score"),
        pl.col("sample_id").get(extreme),
        pl.col("predicted_type").drop_nulls().sort_by(_type_index).mode(maintain_order=True).first(),
        frames=pl.len(),
        labels=pl.col("label").n_unique(),
    )
    mixed = videos.filter(pl.col("labels") > 1)
    if len(mixed):
        raise DataError(
            "mixed_labels", f"video {mixed['video_key'][0]} holds real and fake frames; check its reader"
        )
    return videos.sort(_VIDEO)


def with_cluster(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their video as `video_key`, and as `cluster` the identity where known, else the video."""
    keyed = rows.with_columns(video_key=pl.coalesce("video_id", "sample_id"))
    return keyed.with_columns(
        cluster=pl.concat_str("source", pl.coalesce("identity", "video_key"), separator="/")
    )


def aggregated(score: pl.Expr, aggregation: Aggregation) -> pl.Expr:
    """A video's score from those of its frames."""
    rules = {Aggregation.MEAN: score.mean(), Aggregation.MEDIAN: score.median(), Aggregation.MAX: score.max()}
    return rules[aggregation]


def groups(table: pl.DataFrame) -> Iterator[Group]:
    """All items, then every type, method and source.

    A group of fakes is measured against all reals of its own sources; where those sources
    have none, against all reals, which the note says.
    """
    yield Group("all", "all", table)
    reals = table.filter(pl.col("label") == 0)
    fakes = table.filter(pl.col("label") == 1)
    for kind, names in _names(table, fakes).items():
        for name in names:
            chosen = fakes.filter(pl.col(kind) == name)
            sources = [name] if kind == "source" else chosen["source"].unique().to_list()
            own = reals.filter(pl.col("source").is_in(sources))
            borrowed = len(own) == 0 and len(reals) > 0
            note = "no reals in its source: measured against all reals" if borrowed else ""
            yield Group(kind, name, pl.concat([reals if borrowed else own, chosen]), note)


def kinds(table: pl.DataFrame) -> Iterator[tuple[GroupKind, str, pl.DataFrame]]:
    """All rows, then those of every type and method: kind, name and rows, none of them empty."""
    if len(table):
        yield "all", "all", table
    for kind in ("type", "method"):
        for name in _names(table, table)[kind]:
            yield kind, name, table.filter(pl.col(kind) == name)


def confusion(table: pl.DataFrame) -> list[list[int]] | None:
    """Counts [true type][predicted type] in the order of ForgeryType; None without predictions."""
    known = table.filter(pl.col("predicted_type").is_not_null() & pl.col("type").is_not_null())
    if known.is_empty():
        return None
    pairs = known.group_by("type", "predicted_type").len()
    count = {(true, predicted): number for true, predicted, number in pairs.iter_rows()}
    return [[count.get((true.value, guess.value), 0) for guess in ForgeryType] for true in ForgeryType]


_type_index = pl.col("predicted_type").drop_nulls().replace_strict({t.value: t.index for t in ForgeryType})


def _names(table: pl.DataFrame, fakes: pl.DataFrame) -> dict[GroupKind, list[str]]:
    types = set(fakes["type"].drop_nulls())
    return {
        "type": [t.value for t in ForgeryType if t.value in types],
        "method": sorted(set(fakes["method"].drop_nulls())),
        "source": sorted(set(table["source"].drop_nulls())),
    }
