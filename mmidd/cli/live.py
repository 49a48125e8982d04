"""The live view of a training run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mmidd.cli.console import err, say
from mmidd.training.report import Start, Step, mean_step

_SHOWN = 10
"""Lines about samples that are left out."""

_MEAN_OF = 20
"""Steps that are shown as one."""

_ETA_FROM = 1800.0
"""Seconds over which the time of a step is estimated; a step of a large batch takes minutes."""

_EVERY = 60.0
"""Seconds between lines where there is no terminal."""


class _Bar(Progress):
    """A bar with lines below, each cut where the terminal ends."""

    below: tuple[str, ...] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for line in self.below:
            yield Text(line, no_wrap=True, overflow="ellipsis")


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
        self._progress = _Bar(*start, *columns, *end, console=err, disable=quiet)
        self._task = self._progress.add_task(doing, total=None, **fields)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class TrainView(LiveBar):
    """Bar, ETA, speed and loss terms, as means over the last steps; a line per validation.

    Where standard error is no terminal, as under a batch system, the same is a line now and then.
    """

    def __init__(self, *, quiet: bool) -> None:
        super().__init__("train", TextColumn("epoch {task.fields[epoch]}"), quiet=quiet, epoch=0)
        self._progress.speed_estimate_period = _ETA_FROM
        self._quiet = quiet
        self._unusable = 0
        self._last: deque[Step] = deque(maxlen=_MEAN_OF)
        self._told = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress.live.is_started:
            super().__exit__(kind, error, trace)

    def on_start(self, start: Start) -> None:
        """Say what is trained and where, and show the bar."""
        say(describe(start), quiet=self._quiet)
        self._progress.update(self._task, total=start.total, completed=start.done)
        self._progress.start()

    def on_step(self, step: Step) -> None:
        """Move the bar."""
        self._last.append(step)
        mean = mean_step(self._last)
        self._progress.below = (facts(mean), parts(mean))
        self._progress.update(self._task, completed=step.number, total=step.total, epoch=step.epoch)
        if not self._quiet and not err.is_terminal and monotonic() - self._told > _EVERY:
            self._told = monotonic()
            head = f"step {step.number:,} of {step.total:,}  epoch {step.epoch}"
            err.print(f"{head}  {facts(mean)}  {parts(mean)}", highlight=False, soft_wrap=True)

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


def describe(start: Start) -> str:
    """What is trained, on what, and from where it goes on."""
    percent = 100 * start.trained / start.parameters
    share = f"{percent:.2g}" if percent < 1 else f"{percent:.1f}"
    ranks = f", {start.ranks} ranks" if start.ranks > 1 else ""
    precision = "fp32" if start.precision == "32-true" else start.precision.removesuffix("-mixed")
    resumed = f"; going on after step {start.done:,} of {start.total:,}" if start.done else ""
    return (
        f"training {start.trained:,} of {start.parameters:,} parameters ({share} %) "
        f"on {start.device}{ranks}, {precision}{resumed}"
    )


def facts(step: Step) -> str:
    """Loss, learning rate, speed, waiting and memory of a step."""
    return (
        f"loss {step.terms['total']:.4f}  lr {step.lr:.1e}  {step.samples_per_s:,.1f} samples/s  "
        f"waits for data {step.data_wait:.0%}  {step.memory / 1e9:.1f} GB"
    )


def parts(step: Step) -> str:
    """The loss terms of a step."""
    return "  ".join(f"{name} {value:.4f}" for name, value in step.terms.items() if name != "total")
