"""What the checks read and write: the rows of all sources, and findings."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import polars as pl
import pyarrow as pa

from mmidd.schema import SAMPLES, Split, Status
from mmidd.workspace import Workspace


class Kind(StrEnum):
    """What a finding is about; the words of `--fail-on`."""

    LEAK = "leak"
    CONFLICT = "conflict"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    OVERLAP = "overlap"
    MASK = "mask"
    UNREADABLE = "unreadable"
    COVERAGE = "coverage"
    BALANCE = "balance"


class Severity(StrEnum):
    """How bad: `error` spoils a result, `warning` deserves a look, `info` is for the record."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


_SIDE = {
    "id": pl.col("sample_id"),
    "source": pl.col("source"),
    "split": pl.col("split").fill_null(Split.NONE.value),
    "label": pl.col("label"),
    "type": pl.col("type"),
    "video": pl.col("video_id"),
}

FINDINGS = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("check", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("key", pa.string()),
        *(pa.field(f"{side}_{name}", pa.string()) for side in "ab" for name in _SIDE),
        pa.field("distance", pa.int16()),
        pa.field("count", pa.int64()),
        pa.field("detail", pa.string()),
    ]
)
"""One row per finding. `key` is what is shared, such as a hash, a person or a reason; `a` and `b` are
two samples that show it; `distance` is in bits of 64; `count` says how many samples, pairs or files."""

Findings = pl.DataFrame

TYPES: Mapping[str, pl.DataType] = dict(pl.DataFrame(FINDINGS.empty_table()).schema)

FAMILY = pl.coalesce("pair_id", "video_id", "sample_id")
"""What a fake shares with its original and with the other fakes of it."""


def scan(workspace: Workspace, excluded: bool) -> pl.LazyFrame:
    """All rows of all sources, of any status; `excluded` ones only if asked for."""
    frames = [
        table.scan().with_columns(table=pl.lit(name))
        for name, table in workspace.tables().items()
        if name.startswith("samples/")
    ]
    empty = pl.DataFrame(SAMPLES.empty_table()).lazy().with_columns(table=pl.lit(""))
    rows = pl.concat(frames or [empty])
    return rows if excluded else workspace.without_excluded(rows)


def usable(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The samples among the rows."""
    return rows.filter(pl.col("status") == Status.OK.value)


def finding_rows(
    frame: pl.DataFrame | pl.LazyFrame,
    kind: Kind,
    check: str | pl.Expr,
    severity: Severity | pl.Expr,
    **columns: str | pl.Expr,
) -> Findings:
    """The rows as findings of one kind; columns of `FINDINGS` that neither side names are null.

    Args:
        frame: one row per finding.
        kind: of all of them.
        check: which check of that kind.
        severity: of all of them, or of each.
        columns: other columns of `FINDINGS`, by column of `frame` or expression.
    """
    named = (
        frame.lazy()
        .with_columns(**columns)
        .with_columns(
            kind=pl.lit(kind.value),
            check=pl.lit(check) if isinstance(check, str) else check,
            severity=pl.lit(severity.value) if isinstance(severity, Severity) else severity,
        )
    )
    have = set(named.collect_schema().names())
    return named.select(
        (pl.col(name) if name in have else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in TYPES.items()
    ).collect()


def with_sides(found: Findings, samples: pl.LazyFrame) -> Findings:
    """The findings with what is known of their samples `a_id` and `b_id`."""
    named = pl.concat([found["a_id"], found["b_id"]]).drop_nulls().unique()
    known = samples.select(**_SIDE).filter(pl.col("id").is_in(named.implode())).collect()
    for side in "ab":
        columns = known.select(pl.all().name.prefix(f"{side}_"))
        found = found.join(columns, on=f"{side}_id", how="left", suffix="_known").with_columns(
            pl.coalesce(f"{side}_{name}", f"{side}_{name}_known").alias(f"{side}_{name}")
            for name in _SIDE
            if name != "id"
        )
    return found.select(list(TYPES))


def sorted_findings(parts: list[Findings]) -> Findings:
    """All findings: the worst first, then by kind, distance and sample."""
    whole = pl.concat([pl.DataFrame(FINDINGS.empty_table()), *parts])
    levels = [
        pl.col(name).replace_strict([e.value for e in order], range(len(order)), return_dtype=pl.Int8)
        for name, order in (("severity", Severity), ("kind", Kind))
    ]
    rest = ["check", "distance", "key", "a_id", "b_id", "a_source", "a_split", "a_video", "detail"]
    return whole.sort(*levels, *rest, nulls_last=True)
