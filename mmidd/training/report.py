"""Where training reports to: the caller's live view, and the run's own logs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmidd.errors import StorageError


@dataclass(frozen=True)
class Step:
    """A step that was done.

    Attributes:
        number: counted from 1, of `total`.
        total: steps of the run.
        epoch: counted from 0.
        terms: the loss, `total`, and its parts.
        lr: learning rate of the first group.
        samples_per_s: over all ranks.
        data_wait: share of the step's time that was spent waiting for its batch, in [0, 1].
        memory: bytes; the device's peak, or what the process holds where a CPU trains.
    """

    number: int
    total: int
    epoch: int
    terms: Mapping[str, float]
    lr: float
    samples_per_s: float
    data_wait: float
    memory: int


class Reporter(Protocol):
    """The caller's view of a run; every method may do nothing."""

    def on_start(self, total_steps: int, first_step: int, trained: int, parameters: int, device: str) -> None:
        """A run starts at `first_step`; `trained` of `parameters` weights learn, on `device`."""

    def on_step(self, step: Step) -> None:
        """A step is done."""

    def on_skipped(self, step: int, skipped: int) -> None:
        """A step was skipped because loss or gradient were not finite; `skipped` in all."""

    def on_unusable(self, count: int, why: str) -> None:
        """So many samples are left out."""

    def on_validation(self, epoch: int, metrics: Mapping[str, float], is_best: bool) -> None:
        """An epoch was validated."""


class SilentReporter:
    """Reports nothing."""

    def on_start(self, total_steps: int, first_step: int, trained: int, parameters: int, device: str) -> None:
        """Do nothing."""

    def on_step(self, step: Step) -> None:
        """Do nothing."""

    def on_skipped(self, step: int, skipped: int) -> None:
        """Do nothing."""

    def on_unusable(self, count: int, why: str) -> None:
        """Do nothing."""

    def on_validation(self, epoch: int, metrics: Mapping[str, float], is_best: bool) -> None:
        """Do nothing."""


class Log:
    """`metrics.jsonl` and TensorBoard events of a run."""

    def __init__(self, run_dir: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorboard's own imports warn
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run_dir / "tensorboard"))
        self._file = (run_dir / "metrics.jsonl").open("a", encoding="utf-8")

    def write(self, event: str, step: int, values: Mapping[str, float]) -> None:
        """One line and one point per value; `event` is the prefix, such as train or val."""
        self._line({"event": event, "step": step, **values})
        for name, value in values.items():
            self._board.add_scalar(f"{event}/{name}", value, step)

    def write_unusable(self, step: int, why: str) -> None:
        """One line for a sample that was left out."""
        self._line({"event": "unusable", "step": step, "why": why})

    def _line(self, content: Mapping[str, object]) -> None:
        try:
            self._file.write(json.dumps(content) + "\n")
            self._file.flush()
        except OSError as error:
            raise StorageError(
                f"cannot write {self._file.name}: {error.strerror}; free space and resume"
            ) from error

    def close(self) -> None:
        """Close both logs."""
        self._file.close()
        self._board.close()
