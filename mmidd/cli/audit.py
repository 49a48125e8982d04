"""The verb that says what is wrong with the data: audit."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from mmidd.cli import options as opt
from mmidd.cli.console import emit, err, open_workspace, out, say
from mmidd.errors import DataError, UsageError


def audit(
    workspace: opt.Workspace = None,
    radius: Annotated[
        int, typer.Option(min=0, max=16, help="Bits of 64 up to which perceptual hashes are near.")
    ] = 4,
    fail_on: Annotated[
        str | None,
        typer.Option(help="Exit with 1 on an error or warning of these kinds, as in leak,conflict."),
    ] = None,
    resolve: Annotated[
        bool, typer.Option("--resolve", help="Record which samples are left out, and why.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Find leaks, duplicates, contradicting labels, gaps and unreadable media.

    Writes audit/findings.parquet and audit/report.html, one page with the worst pairs side by side.
    Kinds: leak, conflict, duplicate, near_duplicate, overlap, mask, unreadable, coverage, balance.

    --resolve writes audit/excluded.parquet; every other command then leaves those samples out, and no
    row is deleted: remove the file to have them back. Samples with the same bytes and different labels
    all go; of what two splits share, the copy in train goes, then the one in val; of equal bytes inside
    a split the first stays. --resolve looks at all samples and decides anew; without it the audit sees
    what the other commands see, so what it then finds is what is left.

    Examples:
      mmidd audit
      mmidd audit --radius 2 --fail-on leak,conflict
      mmidd audit --resolve
    """
    from rich.progress import Progress

    from mmidd.audit import run
    from mmidd.audit.rows import Kind

    known = [kind.value for kind in Kind]
    asked = [word.strip() for word in (fail_on or "").split(",") if word.strip()]
    unknown = [word for word in asked if word not in known]
    if unknown:
        raise UsageError(f"--fail-on does not know {', '.join(unknown)}; give some of {', '.join(known)}")
    home = open_workspace(workspace)
    with Progress(console=err, disable=as_json, transient=True) as progress:
        task = progress.add_task("audit", total=None)
        result = run.audit(
            home, radius, resolve, lambda name: progress.update(task, description=f"audit: {name}")
        )
    reasons = (
        {} if result.excluded is None else dict(result.excluded["reason"].value_counts(sort=True).iter_rows())
    )
    files = {"findings": result.folder / run.FINDINGS_FILE, "report": result.folder / run.REPORT_FILE}
    if as_json:
        emit({"samples": result.samples, "counts": result.counts().to_dicts(), "excluded": reasons, **files})
    else:
        out.print(_table(result))
        for reason, count in reasons.items():
            say(f"left out from now on: {count:,} samples, {reason}")
        say(f"findings: {files['findings']}\nreport: {files['report']}")
    failing = result.failing([Kind(word) for word in asked])
    if failing:
        words = ", ".join(f"{count:,} {kind}" for kind, count in failing.items())
        raise DataError("audit", f"{words}; see {files['report']}, or run `mmidd audit --resolve`")


def _table(result: Any) -> Table:
    """Errors, warnings and notes per kind and check."""
    levels = ("error", "warning", "info")
    table = Table("kind", "check", *levels, title=f"{result.samples:,} samples", title_justify="left")
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in result.counts().iter_rows(named=True):
        counts.setdefault((row["kind"], row["check"]), {})[row["severity"]] = row["findings"]
    for (kind, check), of in counts.items():
        cells = [f"{of[level]:,}" if level in of else "-" for level in levels]
        table.add_row(kind, check, *cells, style="red" if "error" in of else "")
    return table
