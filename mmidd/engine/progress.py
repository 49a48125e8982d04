"""Progress of a stage: a live bar for people, nothing for machines."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mmidd.engine.stage import Summary
from mmidd.engine.units import Unit


class Silent:
    """A reporter that shows nothing, for `--json` and tests."""

    def start(self, stage: str, total: int | None) -> None:
        """Ignore the start."""

    def advance(self, unit: Unit | None, summary: Summary) -> None:
        """Ignore the progress."""

    def stop(self) -> None:
        """Ignore the end."""


class Bar:
    """A rich bar with units done, rate, ETA and failures."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[failures]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
        )

    def start(self, stage: str, total: int | None) -> None:
        """Show the bar."""
        self._progress.start()
        self._task = self._progress.add_task(stage, total=total, rate="", failures="")

    def advance(self, unit: Unit | None, summary: Summary) -> None:
        """Move the bar to the summary's counts."""
        elapsed = self._progress.tasks[self._task].elapsed or 0.0
        rate = f"{summary.finished / elapsed:.1f} units/s, {summary.samples / elapsed:.1f} samples/s"
        if summary.totals and elapsed > 0:
            rate += f", {sum(summary.totals.values()) / elapsed:,.0f} tokens/s"
        self._progress.update(
            self._task,
            completed=summary.done_before + summary.finished,
            rate=rate if elapsed > 1 else "",
            failures=f"[red]{summary.failed} failed" if summary.failed else "",
        )

    def stop(self) -> None:
        """Leave the last state of the bar on screen."""
        self._progress.stop()


def counts_table(title: str, rows: Mapping[str, str]) -> Table:
    """Counts by what they are of."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for what, count in rows.items():
        table.add_row(what, count)
    return table


def summary_table(summary: Summary) -> Table:
    """What a stage did, with every reason counted."""
    rows = {
        "units finished now": f"{summary.finished:,}",
        "units done before": f"{summary.done_before:,}",
        "samples": f"{summary.samples:,}",
        **{f"[yellow]{reason}": f"{count:,}" for reason, count in sorted(summary.reasons.items())},
    }
    if summary.failed_before:
        rows["[yellow]failed before (retry with --retry-failed)"] = f"{summary.failed_before:,}"
    return counts_table(f"{summary.stage}: {summary.seconds:.1f} s", rows)
