"""What a run tells its caller and writes into its logs, on the first rank alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from mmidd.training.log import Log
from mmidd.training.report import Reporter, Start, Step


class Record:
    """Passes everything on to the live view and to the logs.

    Args:
        reporter: the live view; none on other ranks than the first.
        log: opens the logs of a run; none on other ranks.
    """

    def __init__(self, reporter: Reporter | None, log: Log | None) -> None:
        self._reporter, self._log = reporter, log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._log:
            self._log.close()

    def start(self, start: Start) -> None:
        """A run starts, or goes on."""
        if self._reporter:
            self._reporter.on_start(start)

    def step(self, step: Step) -> None:
        """A step is done."""
        if self._reporter and self._log:
            self._reporter.on_step(step)
            self._log.write_step(step)

    def skipped(self, step: int, count: int) -> None:
        """A step was not finite; `count` in all."""
        if self._reporter and self._log:
            self._reporter.on_skipped(step, count)
            self._log.write("skipped", step, {"skipped": count})

    def unusable(self, step: int, reasons: Iterable[str]) -> None:
        """Samples are left out."""
        if self._reporter and self._log:
            for why in reasons:
                self._reporter.on_unusable(1, why)
                self._log.write_unusable(step, why)

    def left_out(self, count: int, why: str) -> None:
        """So many samples never take part."""
        if self._reporter and count:
            self._reporter.on_unusable(count, why)

    def validation(self, step: int, epoch: int, metrics: Mapping[str, float], is_best: bool) -> None:
        """An epoch was validated."""
        if self._reporter and self._log:
            self._reporter.on_validation(epoch, metrics, is_best)
            self._log.write("val", step, metrics)
