"""The training loop. It knows tasks, not methods."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric

from mmidd.engine.signals import stop_signals
from mmidd.errors import MmiddError
from mmidd.training.best import Best
from mmidd.training.checkpoint import Progress, State, read_state, save_state
from mmidd.training.config import TrainConfig
from mmidd.training.data import Batch, TrainingData, as_batch, train_stream
from mmidd.training.learner import Learner
from mmidd.training.log import Log
from mmidd.training.record import Record
from mmidd.training.report import Reporter, Start, Step
from mmidd.training.schedule import lr_factor
from mmidd.training.tasks.base import LossTerms, Task
from mmidd.training.trained import check_references, trained_state
from mmidd.training.validate import validate

T = TypeVar("T")


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        run_dir: the run's folder.
        steps: steps done so far, of `total_steps`.
        skipped: steps without an update because loss or gradient were not finite.
        unusable: samples left out because they were damaged or could not be blended.
        best_epoch: epoch of the kept weights, from 0; -1 before the first validation.
        video_auc: its video AUC on the validation split; nan before the first validation.
        interrupted: stopped by a signal; the state is saved and the run can be resumed.
    """

    run_dir: Path
    steps: int
    total_steps: int
    skipped: int
    unusable: int
    best_epoch: int
    video_auc: float
    interrupted: bool


class Loop:
    """One run of one task, on this process's device.

    Args:
        task: with its initial weights.
        data: what it learns from, and is validated on.
        config: of the run.
        run_dir: its folder, see `checkpoint.start_run`.
        reporter: live view; the first rank's alone is used.
        fabric: see `parallel.open_fabric`.

    Raises:
        UsageError: see `parallel.place` and `Stream`.
    """

    def __init__(
        self,
        task: Task[Any],
        data: TrainingData,
        config: TrainConfig,
        run_dir: Path,
        reporter: Reporter,
        fabric: Fabric,
    ) -> None:
        self.data, self.config, self.run_dir = data, config, run_dir
        self.reporter, self.fabric = reporter, fabric
        self.learner = Learner(task, config, fabric)
        self.task, self.ranks = task, self.learner.ranks
        self.stream = train_stream(data, config, task.size, self.ranks.rank, self.ranks.count)
        self.per_epoch = self.stream.planned.steps
        self.total = min(self.per_epoch * config.epochs, config.max_steps or self.per_epoch * config.epochs)
        self.progress = Progress()
        self.references = task.references()
        self.best = Best(run_dir, config, self.progress, self.references)

    def run(self, resume: bool) -> TrainResult:
        """Train to the end or to a signal.

        Raises:
            UsageError: see `checkpoint.read_state`.
            MmiddError: too many steps in a row were not finite.
        """
        state = read_state(self.run_dir, self.config, self.data.fingerprint()) if resume else None
        if state:
            check_references(self.run_dir, state["references"], self.task)
            self._state().load(state)
        with self.stream, self._record() as self.record, stop_signals() as stopped:
            self.record.start(self._start())
            self.record.left_out(self.data.left_out, "reals without landmarks to blend along")
            if not self.total and not self.progress.epoch:
                self._end_epoch()
            while self.progress.step < self.total and not self._epoch(stopped):
                pass
        return self._result()

    def _epoch(self, stopped: list[int]) -> bool:
        """Train to the end of the epoch, or of the run; says whether a signal came before."""
        progress, self.clock = self.progress, time.perf_counter()
        for loaded, waited in _timed(self.stream):
            self._step(as_batch(loaded), waited)
            if progress.step == self.total:
                break
            if any(self.ranks.gather(bool(stopped))):
                self._save()
                return True
            if progress.step % self.config.keep.every == 0:
                self._save()
        self._end_epoch()
        return False

    def _step(self, batch: Batch, waited: float) -> None:
        progress = self.progress
        told = self.ranks.gather((len(batch), batch.unusable))
        self._leave_out([why for _, unusable in told for why in unusable])
        factor = lr_factor(progress.step, self.total, self.per_epoch, self.config.optim)
        terms, good = self.learner.step(batch, progress.step, factor)
        progress.step += 1
        self._tell(terms, good, factor * self.learner.lr, sum(count for count, _ in told), waited)

    def _tell(self, terms: LossTerms, good: bool, lr: float, samples: int, waited: float) -> None:
        progress, values = self.progress, terms.values()
        now = time.perf_counter()
        took, self.clock = now - self.clock, now
        if good:
            progress.bad_in_a_row = 0
            rates = {"samples_per_s": samples / took, "data_wait": min(waited / took, 1.0)}
            step, epoch = progress.step, progress.epoch
            self.record.step(Step(step, self.total, epoch, values, lr, **rates, memory=self._memory()))
            return
        progress.bad_in_a_row += 1
        progress.skipped += 1
        self.record.skipped(progress.step, progress.skipped)
        if progress.bad_in_a_row >= self.config.max_bad_steps:
            raise MmiddError(
                f"{progress.bad_in_a_row} steps in a row gave no finite loss or gradient; "
                "lower it with --set optim.lr and start a new run"
            )

    def _end_epoch(self) -> None:
        progress, config = self.progress, self.config
        average = self.learner.average
        with average.in_place() if average else nullcontext():
            metrics = validate(
                self.task, self.data.val, config.validation, config.micro_batch, self._leave_out, self.ranks
            )
            is_best = self.best.offer(metrics, trained_state(self.task), write=self.ranks.rank == 0)
        self.record.validation(progress.step, progress.epoch, metrics, is_best)
        progress.epoch += 1
        self._save()

    def _leave_out(self, reasons: list[str]) -> None:
        self.progress.unusable += len(reasons)
        self.record.unusable(self.progress.step, reasons)

    def _state(self) -> State:
        return State(self.task, self.learner.optimiser, self.learner.average, self.stream, self.progress)

    def _save(self) -> None:
        state = {**self._state().whole(), "data": self.data.fingerprint(), "references": self.references}
        if self.ranks.rank == 0:
            save_state(self.run_dir, state, self.config.keep.states)
        self.ranks.wait()

    def _record(self) -> Record:
        if self.ranks.rank:
            return Record(None, None)
        return Record(self.reporter, Log(self.run_dir, self.progress.step, self.config.wandb))

    def _start(self) -> Start:
        return Start(
            total=self.total,
            done=self.progress.step,
            trained=sum(p.numel() for p in self.task.trainable().values()),
            parameters=sum(p.numel() for p in self.task.parameters()),
            device=str(self.fabric.device),
            ranks=self.ranks.count,
            precision=self.config.precision,
        )

    def _memory(self) -> int:
        """Bytes: the device's peak, or that of this process where a CPU trains."""
        if self.fabric.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.fabric.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _result(self) -> TrainResult:
        progress = self.progress
        return TrainResult(
            run_dir=self.run_dir,
            steps=progress.step,
            total_steps=self.total,
            skipped=progress.skipped,
            unusable=progress.unusable,
            best_epoch=self.best.epoch,
            video_auc=self.best.video_auc,
            interrupted=progress.step < self.total,
        )


def _timed(items: Iterable[T]) -> Iterator[tuple[T, float]]:
    """Each item with the seconds that were waited for it."""
    iterator = iter(items)
    while True:
        asked = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        yield item, time.perf_counter() - asked
