"""What training shares with validation or test: videos, originals, people, material, bytes."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from mmidd.audit.exact import crops, files
from mmidd.audit.rows import Findings, Kind, Severity, finding_rows
from mmidd.schema import Split

CROSSINGS = (
    (Split.TRAIN, Split.TEST, Severity.ERROR),
    (Split.TRAIN, Split.VAL, Severity.ERROR),
    (Split.VAL, Split.TEST, Severity.WARNING),
)
"""The pairs of splits that must share nothing; rows of the first are what `--resolve` leaves out."""


def _videos(samples: pl.LazyFrame) -> pl.LazyFrame:
    return samples.select("sample_id", "split", key="video_id")


def _originals(samples: pl.LazyFrame) -> pl.LazyFrame:
    named = [samples.select("sample_id", "split", key=name) for name in ("pair_id", "target_video")]
    return pl.concat(named).unique()


def _people(samples: pl.LazyFrame) -> pl.LazyFrame:
    return _listed(samples, "identity_ids")


def _material(samples: pl.LazyFrame) -> pl.LazyFrame:
    return _listed(samples, "overlap_ids")


def _listed(samples: pl.LazyFrame, column: str) -> pl.LazyFrame:
    some = pl.col(column).list.len() > 0
    return samples.filter(some).select("sample_id", "split", key=column).explode("key")


CHECKS: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "video": _videos,
    "pair": _originals,
    "identity": _people,
    "overlap": _material,
    "file": lambda samples: files(samples).select("sample_id", "split", "key"),
    "crop": lambda samples: crops(samples).select("sample_id", "split", "key"),
}
"""For every check the samples (`sample_id`, `split`) with the `key` that must lie in one split."""


def leaks(samples: pl.LazyFrame) -> list[Findings]:
    """One finding per key and pair of splits; `count` is how many samples of the first split have it."""
    found = {name: _crossing(name, members(samples)) for name, members in CHECKS.items()}
    same = ["key", "a_split", "b_split"]
    found["pair"] = found["pair"].join(found["video"], on=same, how="anti")
    return list(found.values())


def _crossing(name: str, members: pl.LazyFrame) -> Findings:
    held = members.drop_nulls("key").group_by("key", "split").agg(pl.col("sample_id").min(), count=pl.len())
    splits = held.filter(pl.len().over("key") > 1).collect(engine="streaming")
    parts = []
    for first, second, severity in CROSSINGS:
        a, b = (
            splits.filter(pl.col("split") == split.value).rename({"sample_id": f"{side}_id"})
            for side, split in (("a", first), ("b", second))
        )
        both = a.join(b.select("key", "b_id", other="count"), on="key")
        parts.append(
            finding_rows(
                both,
                Kind.LEAK,
                check=name,
                severity=severity,
                a_split=pl.lit(first.value),
                b_split=pl.lit(second.value),
                detail=pl.format(
                    "{} samples of {}, {} of {}", "count", pl.lit(first.value), "other", pl.lit(second.value)
                ),
            )
        )
    return pl.concat(parts)


def leaking(samples: pl.LazyFrame, found: Findings) -> pl.DataFrame:
    """The samples to leave out for the findings of `leaks`: `sample_id`, `reason`, `key`."""
    keys = found.filter(pl.col("kind") == Kind.LEAK.value).select("check", "key", split="a_split").unique()
    parts = [
        members(samples)
        .join(keys.filter(pl.col("check") == name).lazy(), on=["key", "split"])
        .select("sample_id", "key", reason=pl.lit(f"leak_{name}"))
        .collect(engine="streaming")
        for name, members in CHECKS.items()
    ]
    return pl.concat(parts)
