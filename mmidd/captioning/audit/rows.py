"""What the checks read and write: the captions of one backend with their samples, and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import polars as pl
import pyarrow as pa

from mmidd.audit.rows import Severity
from mmidd.errors import UsageError
from mmidd.schema import CAPTIONS, Status
from mmidd.workspace import Workspace


class Kind(StrEnum):
    """What a finding is about."""

    FAILURE = "failure"
    SCHEMA = "schema"
    LENGTH = "length"
    VERDICT = "verdict"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    MEASURED = "measured"
    ASSOCIATION = "association"
    AGREEMENT = "agreement"
    COVERAGE = "coverage"


SENTENCES = ("face", "environment")
"""The columns with a sentence."""

FINDINGS = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("check", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("sample_id", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("detail", pa.string()),
    ]
)
"""One row per finding: `value` is what was counted or estimated; a finding about many samples names the
first of them, or none."""

TYPES: Mapping[str, pl.DataType] = dict(pl.DataFrame(FINDINGS.empty_table()).schema)

Findings = pl.DataFrame

VIDEO = pl.coalesce("video_id", "sample_id")
"""Captions of the frames of one video are not independent."""

_CAPTION = ("sample_id", "status", "reason", "detail", *SENTENCES, "facts", "tries")
_SAMPLE = (
    *("source", "label", "type", "method", "video_id", "brightness", "sharpness", "landmarks5"),
    *("table", "pack", "offset", "length"),
)


@dataclass(frozen=True)
class Captioned:
    """The captions of a backend.

    Attributes:
        backend: the name of the set of captions, that of its folder.
        rows: one row per captioned usable sample, by `sample_id`: what was said, and what is known of the
            sample.
        failures: the rows of usable samples without a caption.
        samples: how many usable samples there are.
    """

    backend: str
    rows: pl.DataFrame
    failures: pl.DataFrame
    samples: int


def read(workspace: Workspace, backend: str) -> Captioned:
    """The captions of a backend.

    Raises:
        UsageError: there are none.
    """
    table = workspace.tables().get(f"captions/{backend}")
    if table is None:
        known = [name.partition("/")[2] for name in workspace.tables() if name.startswith("captions/")]
        raise UsageError(
            f"no captions by {backend!r} in {workspace.root} (only by: {', '.join(known) or 'none'}); "
            "run `mmidd caption --vlm ...` first"
        )
    samples = workspace.samples().select("sample_id", *_SAMPLE)
    empty = pl.DataFrame(CAPTIONS.empty_table()).lazy()
    said = pl.concat([empty, table.scan()], how="diagonal_relaxed").select(_CAPTION)
    joined = said.join(samples, on="sample_id").collect()
    ok = pl.col("status") == Status.OK.value
    whole = joined.sort("sample_id", ok).unique("sample_id", keep="last", maintain_order=True)
    if not whole.height:
        raise UsageError(f"{backend!r} captioned no usable sample of {workspace.root}; see `mmidd status`")
    count = samples.select(pl.len()).collect().item()
    return Captioned(backend, whole.filter(ok), whole.filter(~ok), count)


def finding_rows(
    frame: pl.DataFrame, kind: Kind, check: str | pl.Expr, severity: Severity | pl.Expr
) -> Findings:
    """The rows as findings of one kind; `sample_id`, `value` and `detail` are taken from the frame."""
    named = frame.with_columns(
        kind=pl.lit(kind.value),
        check=pl.lit(check) if isinstance(check, str) else check,
        severity=pl.lit(severity.value) if isinstance(severity, Severity) else severity,
    )
    return named.select(
        (pl.col(name) if name in named.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in TYPES.items()
    )


def sorted_findings(parts: list[Findings]) -> Findings:
    """All findings: the worst first, then by kind, check and the greatest value."""
    whole = pl.concat([pl.DataFrame(FINDINGS.empty_table()), *parts])
    levels = [
        pl.col(name).replace_strict([e.value for e in order], range(len(order)), return_dtype=pl.Int8)
        for name, order in (("severity", Severity), ("kind", Kind))
    ]
    keys = [*levels, pl.col("check"), -pl.col("value"), pl.col("sample_id"), pl.col("detail")]
    return whole.sort(*keys, nulls_last=True)
