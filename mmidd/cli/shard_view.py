"""The live view of `mmidd shard`, and its summary."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mmidd.cli.console import err
from mmidd.shards.writer import ShardSummary


class _Rate(TextColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} {self.text_format}/s" if task.speed else "")


class ShardView:
    """A bar with rate and ETA; it moves with every finished shard."""

    def __init__(self, *, quiet: bool, doing: str = "shard", what: str = "samples") -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(f"[bold]{doing}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(what),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=err,
            disable=quiet,
        )
        self._task = self._progress.add_task(doing, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)


def shard_table(summary: ShardSummary, seconds: float) -> Table:
    """What `mmidd shard` wrote, and every reason for which rows were left out."""
    table = Table(title=f"{summary.out}: {seconds:.1f} s", title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_row("shards written now", f"{summary.shards - summary.kept:,}")
    table.add_row("shards kept", f"{summary.kept:,}")
    table.add_row("size of all shards", f"{summary.bytes / 1e6:,.1f} MB")
    for split, count in summary.samples.items():
        table.add_row(f"samples {split}", f"{count:,}")
    for reason, count in summary.rejected.items():
        table.add_row(f"[yellow]left out: {reason}", f"{count:,}")
    return table
