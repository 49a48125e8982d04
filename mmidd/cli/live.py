"""The live view of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mmidd.cli.console import err, say
from mmidd.training.report import Step

_SHOWN = 10
"""Lines about samples that are left out."""


class LiveBar:
    """A bar on standard error for as long as it is entered: what is done, some columns more, ETA.

    Args:
        doing: what the bar calls it.
        columns: between the counts and the ETA.
        quiet: show nothing.
        fields: of the columns, see `rich.progress.Progress.add_task`.
    """

    def __init__(self, doing: str, *columns: ProgressColumn, quiet: bool, **fields: Any) -> None:
        start = (TextColumn(f"[bold]{doing}"), BarColumn(bar_width=24), MofNCompleteColumn())
        end = (TextColumn("ETA"), TimeRemainingColumn())
        self._progress = Progress(*start, *columns, *end, console=err, disable=quiet)
        self._task = self._progress.add_task(doing, total=None, **fields)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class TrainView(LiveBar):
    """A bar with loss terms, learning rate, samples per second and ETA; a line per validation."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__("train", TextColumn("{task.fields[text]}"), quiet=quiet, text="")
        self._quiet = quiet
        self._unusable = 0

    def on_start(self, total_steps: int, first_step: int, trained: int, parameters: int, device: str) -> None:
        """Say what is trained and where."""
        say(f"training {trained:,} of {parameters:,} parameters on {device}", quiet=self._quiet)
        self._progress.update(self._task, total=total_steps, completed=first_step)

    def on_step(self, step: Step) -> None:
        """Move the bar."""
        losses = " ".join(f"{name} {value:.3f}" for name, value in step.terms.items())
        text = f"{losses} lr {step.lr:.1e} {step.samples_per_s:.0f} samples/s"
        self._progress.update(self._task, completed=step.number, total=step.total, text=text)

    def on_skipped(self, step: int, skipped: int) -> None:
        """Say that a step was not finite."""
        self._progress.console.print(f"[yellow]step {step} skipped: not finite ({skipped} in all)")

    def on_unusable(self, count: int, why: str) -> None:
        """Say which samples are left out, of many the first."""
        self._unusable += 1
        if self._unusable <= _SHOWN:
            self._progress.console.print(f"[yellow]left out: {count:,} samples: {why}", highlight=False)
        if self._unusable == _SHOWN:
            self._progress.console.print("[yellow]what else is left out stands in the run's metrics.jsonl")

    def on_validation(self, epoch: int, metrics: Mapping[str, float], is_best: bool) -> None:
        """Print an epoch's validation."""
        values = " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self._progress.console.print(
            f"epoch {epoch}: {values}{' (best)' if is_best else ''}", highlight=False
        )
