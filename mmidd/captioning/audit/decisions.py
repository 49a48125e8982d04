"""What reviewers decided about captions: their files, the table of all decisions, and accept rates."""

from __future__ import annotations

import hashlib
from math import sqrt
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mmidd.captioning.audit.rows import read
from mmidd.errors import StorageError, UsageError
from mmidd.files import TEMPORARY
from mmidd.workspace import Workspace

DECISIONS_FILE = "decisions.parquet"

Z95 = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""

COLUMNS = {
    "sample_id": pl.String(),
    "backend": pl.String(),
    "caption": pl.String(),
    "verdict": pl.String(),
    "note": pl.String(),
    "reviewer": pl.String(),
    "decided_at": pl.Datetime("us", "UTC"),
}
"""One row per sample and reviewer; `caption` is the `digest` of the texts that were judged."""

RATES = {
    "source": pl.String(),
    "type": pl.String(),
    "captions": pl.Int64(),
    "reviewed": pl.Int64(),
    "accepted": pl.Int64(),
    "rate": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Decision(_Part):
    """One judgement of one caption."""

    sample_id: str
    caption: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    verdict: Literal["accept", "reject"]
    note: Annotated[str, Field(max_length=2000)] = ""
    decided_at: AwareDatetime


class Decisions(_Part):
    """The file that the review page downloads."""

    format: Literal[1]
    backend: str
    reviewer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    decisions: tuple[Decision, ...]


def digest(face: str | None, environment: str | None) -> str:
    """What tells the texts of a caption from earlier ones of the same sample: 16 hex digits."""
    return hashlib.sha256(f"{face or ''}\n{environment or ''}".encode()).hexdigest()[:16]


def folder(workspace: Workspace, backend: str) -> Path:
    """Where the audit of a backend's captions writes."""
    return workspace.root / "captions_audit" / backend


def record_decisions(workspace: Workspace, backend: str, json_path: Path) -> Path:
    """Add the decisions of a downloaded file to the table; the latest of a sample and reviewer stays.

    Returns:
        The table, `captions_audit/<backend>/decisions.parquet`.

    Raises:
        UsageError: the file is not one of the review page of this backend, or names unknown samples.
        StorageError: the table cannot be written.
    """
    given = _read(json_path)
    if given.backend != backend:
        raise UsageError(
            f"{json_path} holds decisions about captions by {given.backend!r}, not {backend!r}; name those"
        )
    known = set(read(workspace, backend).rows["sample_id"])
    strange = [one.sample_id for one in given.decisions if one.sample_id not in known]
    if strange:
        raise UsageError(
            f"{json_path} judges {len(strange)} samples without such a caption, as {strange[0]}; "
            "use the review page of this workspace"
        )
    new = [{**one.model_dump(), "backend": backend, "reviewer": given.reviewer} for one in given.decisions]
    rows = pl.concat([recorded(workspace, backend), pl.DataFrame(new, schema=COLUMNS)])
    last = rows.sort("decided_at", maintain_order=True).unique(["sample_id", "reviewer"], keep="last")
    return _write(last.sort("sample_id", "reviewer"), folder(workspace, backend) / DECISIONS_FILE)


def recorded(workspace: Workspace, backend: str) -> pl.DataFrame:
    """All decisions about a backend's captions so far."""
    path = folder(workspace, backend) / DECISIONS_FILE
    return pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=COLUMNS)


def _read(path: Path) -> Decisions:
    try:
        return Decisions.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the downloaded file") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise UsageError(
            f"{path} is no file of the review page ({where}: {first['msg']}); download it again"
        ) from error


def _write(rows: pl.DataFrame, path: Path) -> Path:
    temporary = path.with_name(TEMPORARY + path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(temporary)
        return temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; free space, then run it again") from error


def wilson(accepted: int, reviewed: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a proportion (1927); all of [0, 1] where nothing was reviewed."""
    if not reviewed:
        return 0.0, 1.0
    share, square = accepted / reviewed, Z95**2 / reviewed
    middle = share + square / 2
    reach = sqrt(square * (share * (1 - share) + square / 4))
    return max(0.0, (middle - reach) / (1 + square)), min(1.0, (middle + reach) / (1 + square))


def accept_rates(rows: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Accept rate and Wilson interval per source and type, over the captions as they are now.

    A caption that several reviewers judged is accepted where none of them rejected it.
    """
    digests = [
        digest(face, environment) for face, environment in rows.select("face", "environment").iter_rows()
    ]
    current = rows.select("sample_id", "source", "type").with_columns(
        caption=pl.Series(digests, dtype=pl.String)
    )
    judged = decisions.group_by("sample_id", "caption").agg(accepted=(pl.col("verdict") == "accept").all())
    strata = (
        current.join(judged, on=["sample_id", "caption"], how="left")
        .group_by("source", "type")
        .agg(
            captions=pl.len(),
            reviewed=pl.col("accepted").count(),
            accepted=pl.col("accepted").sum(),
        )
        .sort("source", "type")
    )
    table = []
    for row in strata.iter_rows(named=True):
        low, high = wilson(row["accepted"], row["reviewed"])
        rate = row["accepted"] / row["reviewed"] if row["reviewed"] else None
        table.append({**row, "rate": rate, "low": low, "high": high})
    return pl.DataFrame(table, schema=RATES)
