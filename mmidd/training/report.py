"""What training tells its caller, for a live view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Protocol


@dataclass(frozen=True)
class Start:
    """What begins, or goes on.

    Attributes:
        total: steps of the run, of which `done` were done before.
        trained: weights that learn, of `parameters`.
        device: of the first rank, as `cuda:0`.
        ranks: processes that train together.
        precision: as the configuration names it.
    """

    total: int
    done: int
    trained: int
    parameters: int
    device: str
    ranks: int
    precision: str


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
    """The caller's view of a run, told on the first rank alone; every method may do nothing."""

    def on_start(self, start: Start) -> None:
        """A run starts, or goes on."""

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

    def on_start(self, start: Start) -> None:
        """Do nothing."""

    def on_step(self, step: Step) -> None:
        """Do nothing."""

    def on_skipped(self, step: int, skipped: int) -> None:
        """Do nothing."""

    def on_unusable(self, count: int, why: str) -> None:
        """Do nothing."""

    def on_validation(self, epoch: int, metrics: Mapping[str, float], is_best: bool) -> None:
        """Do nothing."""


def mean_step(steps: Sequence[Step]) -> Step:
    """The last of some steps with its terms as means, speed over all their time, and largest memory.

    A term that not all steps have is the mean of those that do.
    """
    seconds = [1 / step.samples_per_s for step in steps]
    waited = sum(step.data_wait * time for step, time in zip(steps, seconds, strict=True))
    last = steps[-1]
    return replace(
        last,
        terms={name: _mean(name, steps) for name in last.terms},
        samples_per_s=len(steps) / sum(seconds),
        data_wait=waited / sum(seconds),
        memory=max(step.memory for step in steps),
    )


def _mean(name: str, steps: Sequence[Step]) -> float:
    return fmean(step.terms[name] for step in steps if name in step.terms)
