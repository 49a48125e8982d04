"""Tables for people, from the library's results."""

from __future__ import annotations

from typing import Any

import polars as pl
from rich.table import Table

from mmidd.ingest.check import CheckReport
from mmidd.schema import ForgeryType
from mmidd.workspace import Workspace


def check_table(report: CheckReport) -> Table:
    """Expected, found, missing and unreadable files per method and split."""
    table = Table(
        "method",
        "compression",
        "split",
        *("expected", "found", "missing", "unreadable"),
        title=f"{report.source} at {report.root}",
        title_justify="left",
        caption=f"{len(report.unlisted)} unlisted"
        + "".join(f"\n{u.path}: {u.why}" for u in report.unlisted[:5]),
        caption_justify="left",
    )
    for (method, compression, split), counts in sorted(report.counts.items()):
        expected = "-" if counts.expected is None else str(counts.expected)
        cells = [expected, str(counts.found), str(len(counts.missing)), str(len(counts.unreadable))]
        style = "red" if counts.missing or counts.unreadable else ""
        table.add_row(method, compression, split, *cells, style=style)
    return table


def status_data(workspace: Workspace) -> dict[str, Any]:
    """What the workspace holds, JSON-ready."""
    samples = workspace.samples().group_by("source", "split", "type").len().collect()
    stages = []
    for name, table in workspace.tables().items():
        units = table.scan().group_by("unit_id").agg((pl.col("status") == "failed").any().alias("failed"))
        failed = units.select(pl.len().alias("units"), pl.col("failed").sum()).collect().row(0)
        stages.append({"table": name, "units": failed[0], "failed": failed[1]})
    runs = sorted(p.name for p in workspace.runs_dir.glob("*") if (p / "config.yaml").is_file())
    return {
        "workspace": str(workspace.root),
        "spec": workspace.spec.model_dump(),
        "samples": samples.sort("source", "split", "type").to_dicts(),
        "excluded": workspace.excluded(),
        "stages": stages,
        "shards": sorted(p.name for p in workspace.shards_dir.glob("*.tar")),
        "runs": runs,
    }


def status_tables(data: dict[str, Any]) -> list[Table]:
    """Samples by source, split and type; then the stages, shards and runs."""
    types = [kind.value for kind in ForgeryType]
    samples = Table("source", "split", *types, title=data["workspace"], title_justify="left")
    counts = {(row["source"], row["split"], row["type"]): row["len"] for row in data["samples"]}
    for source, split in dict.fromkeys((row["source"], row["split"]) for row in data["samples"]):
        cells = [counts.get((source, split, kind)) for kind in types]
        samples.add_row(source, split, *("-" if cell is None else f"{cell:,}" for cell in cells))
    stages = Table("table", "units", "failed", title="stages", title_justify="left")
    for row in data["stages"]:
        stages.add_row(row["table"], f"{row['units']:,}", f"{row['failed']:,}")
    rest = Table(show_header=False)
    for reason, count in data["excluded"].items():
        rest.add_row("left out", f"{count:,} samples, {reason}")
    rest.add_row("shards", str(len(data["shards"])))
    rest.add_row("runs", ", ".join(data["runs"]) or "none")
    return [samples, stages, rest]
