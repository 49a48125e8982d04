"""The audit of a workspace: all checks, the files they leave, and what to exclude."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmidd.audit.exact import conflicting, conflicts, duplicates, repeated
from mmidd.audit.leaks import leaking, leaks
from mmidd.audit.media import balance, coverage, masks, overlaps, unreadable
from mmidd.audit.near import near_duplicates, near_leaking
from mmidd.audit.report import write_report
from mmidd.audit.rows import (
    FINDINGS,
    Findings,
    Kind,
    Severity,
    scan,
    sorted_findings,
    usable,
    with_sides,
)
from mmidd.errors import StorageError
from mmidd.files import TEMPORARY
from mmidd.schema import with_version
from mmidd.workspace import EXCLUDED, Workspace

FINDINGS_FILE, REPORT_FILE = "findings.parquet", "report.html"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        findings: rows of `FINDINGS`, the worst first.
        excluded: `sample_id`, `reason`, `key` of what `--resolve` leaves out; None without it.
        folder: where the files are.
        samples: how many samples were looked at.
    """

    findings: Findings
    excluded: pl.DataFrame | None
    folder: Path
    samples: int

    def counts(self) -> pl.DataFrame:
        """How many findings there are per kind, check and severity, in order."""
        return self.findings.group_by("kind", "check", "severity", maintain_order=True).len("findings")

    def failing(self, kinds: list[Kind]) -> dict[str, int]:
        """How many findings of these kinds are errors or warnings, by kind; only where there are any."""
        wanted = pl.col("kind").is_in([kind.value for kind in kinds])
        bad = self.findings.filter(wanted & (pl.col("severity") != Severity.INFO.value))
        return dict(bad["kind"].value_counts(sort=True).iter_rows())


def audit(
    workspace: Workspace, radius: int = 4, resolve: bool = False, progress: Progress = lambda _: None
) -> Audit:
    """Run every check and write the findings, the report and, with `resolve`, what to leave out.

    Args:
        workspace: an opened workspace.
        radius: bits of 64 up to which two perceptual hashes count as near.
        resolve: look at all samples, also those left out before, and decide anew what to leave out.
        progress: is told what is being checked.

    Raises:
        StorageError: the audit's folder cannot be written.
    """
    rows = scan(workspace, excluded=resolve)
    found = findings_of(rows, workspace.spec.frames, radius, progress)
    samples = usable(rows)
    excluded = exclusions(samples, found) if resolve else None
    result = Audit(found, excluded, workspace.audit_dir, samples.select(pl.len()).collect().item())
    progress("report")
    try:
        result.folder.mkdir(parents=True, exist_ok=True)
        _write(found.to_arrow().cast(FINDINGS), result.folder / FINDINGS_FILE)
        if excluded is not None:
            _write(excluded.to_arrow(), result.folder / EXCLUDED)
        write_report(result.folder / REPORT_FILE, workspace, result.findings, samples, radius)
    except OSError as error:
        raise StorageError(
            f"cannot write {result.folder}: {error.strerror}; free space, then run `mmidd audit` again"
        ) from error
    return result


def findings_of(rows: pl.LazyFrame, frames: int, radius: int, progress: Progress) -> Findings:
    """All findings about the rows; `frames` is how many a video was to give."""
    samples = usable(rows)
    parts: list[Findings] = []
    checks: dict[str, Callable[[], list[Findings]]] = {
        "media": lambda: [*coverage(rows, frames), unreadable(rows), *masks(rows), *balance(samples)],
        "overlap between sources": lambda: [overlaps(samples)],
        "equal bytes": lambda: [*duplicates(samples), *conflicts(samples)],
        "leaks between splits": lambda: leaks(samples),
    }
    for name, check in checks.items():
        progress(name)
        parts += check()
    parts = [with_sides(pl.concat(parts), samples)]
    progress("near duplicates")
    return sorted_findings([*parts, *near_duplicates(samples, radius)])


def exclusions(samples: pl.LazyFrame, found: Findings) -> pl.DataFrame:
    """The samples to leave out, each with its first reason.

    Byte-identical samples with different labels all go. Of what two splits share, the copy in the
    earlier of train, val and test goes. Of equal bytes that are left, the first by `sample_id` stays.
    """
    gone = [conflicting(samples, found), leaking(samples, found), near_leaking(samples, found)]
    first = pl.concat(gone)
    rest = samples.join(first.lazy().select("sample_id"), on="sample_id", how="anti")
    whole = pl.concat([first, repeated(rest)]).unique("sample_id", keep="first", maintain_order=True)
    return whole.select("sample_id", "reason", "key").sort("sample_id")


def _write(table: pa.Table, path: Path) -> None:
    temporary = path.with_name(TEMPORARY + path.name)
    pq.write_table(table.replace_schema_metadata(with_version(table.schema).metadata), temporary)
    temporary.replace(path)
