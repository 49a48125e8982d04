"""The live view of `mmidd shard`, and its summary."""

from __future__ import annotations

from rich.progress import SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mmidd.cli.live import LiveBar
from mmidd.engine.progress import counts_table
from mmidd.shards.writer import ShardSummary


class _Rate(TextColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} {self.text_format}/s" if task.speed else "")


class ShardView(LiveBar):
    """A bar with rate and ETA; it moves with every finished shard."""

    def __init__(self, *, quiet: bool, doing: str = "shard", what: str = "samples") -> None:
        super().__init__(doing, SpinnerColumn(), _Rate(what), TimeElapsedColumn(), quiet=quiet)

    def __call__(self, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)


def shard_table(summary: ShardSummary, seconds: float) -> Table:
    """What `mmidd shard` wrote, and every reason for which rows were left out."""
    rows = {
        "shards written now": f"{summary.shards - summary.kept:,}",
        "shards kept": f"{summary.kept:,}",
        "size of all shards": f"{summary.bytes / 1e6:,.1f} MB",
        **{f"samples {split}": f"{count:,}" for split, count in summary.samples.items()},
        **{f"[yellow]left out: {reason}": f"{count:,}" for reason, count in summary.rejected.items()},
    }
    return counts_table(f"{summary.out}: {seconds:.1f} s", rows)
