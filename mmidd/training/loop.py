"""The training loop. It knows tasks, not methods."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from mmidd.engine.signals import stop_signals
from mmidd.errors import MmiddError
from mmidd.training.accumulate import accumulate
from mmidd.training.checkpoint import Progress, load_state, save_state, save_weights
from mmidd.training.config import TrainConfig
from mmidd.training.data import Batch, TrainingData, as_batch, train_stream
from mmidd.training.report import Log, Reporter, Step
from mmidd.training.schedule import lr_factor
from mmidd.training.tasks.base import Features, LossTerms, Task
from mmidd.training.validate import validate

logger = logging.getLogger(__name__)


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
    """One run of one task on one device."""

    def __init__(
        self, task: Task[Any], data: TrainingData, config: TrainConfig, run_dir: Path, reporter: Reporter
    ) -> None:
        self.config, self.data, self.run_dir, self.reporter = config, data, run_dir, reporter
        self.fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
        self.task = self.fabric.to_device(task)
        groups = task.groups()
        self.top_lrs = [group.lr for group in groups]
        self.optimiser = torch.optim.AdamW(
            [{"params": group.parameters, "lr": group.lr} for group in groups],
            betas=config.optim.betas,
            weight_decay=config.optim.weight_decay,
        )
        self.stream = train_stream(data, config, task.size)
        self.per_epoch = self.stream.planned.steps
        self.total = min(self.per_epoch * config.epochs, config.max_steps or self.per_epoch * config.epochs)
        self.progress = Progress()

    def run(self, resume: bool) -> TrainResult:
        """Train to the end or to a signal.

        Raises:
            MmiddError: too many steps in a row were not finite.
        """
        if resume:
            self.progress = load_state(
                self.run_dir, self.config, self.task, self.optimiser, self.stream, self.data.fingerprint()
            )
        trained = sum(p.numel() for p in self.task.trainable().values())
        everything = sum(p.numel() for p in self.task.parameters())
        device = str(self.fabric.device)
        self.reporter.on_start(self.total, self.progress.step, trained, everything, device)
        self.log = Log(self.run_dir)
        if self.data.left_out:
            self.reporter.on_unusable(self.data.left_out, "reals without landmarks to blend along")
        try:
            with self.stream, stop_signals() as stopped:
                while self.progress.step < self.total and not stopped:
                    self._epoch(stopped)
        finally:
            self.log.close()
        return self._result(interrupted=self.progress.step < self.total)

    def _epoch(self, stopped: list[int]) -> None:
        progress, self.clock = self.progress, time.perf_counter()
        for loaded in self.stream:
            self._step(as_batch(loaded))
            if progress.step == self.total:
                break
            if stopped:
                self._save()
                return
            if progress.step % self.config.keep.every == 0:
                self._save()
        self._validate()
        progress.epoch += 1
        self._save()

    def _step(self, batch: Batch) -> None:
        progress, config = self.progress, self.config
        for why in batch.unusable:
            self._leave_out(why)
        factor = lr_factor(progress.step, self.total, self.per_epoch, config.optim)
        for group, top in zip(self.optimiser.param_groups, self.top_lrs, strict=True):
            group["lr"] = top * factor
        self.task.train()
        self.optimiser.zero_grad()
        terms = accumulate(
            self.task,
            self._encode,
            batch.to(self.fabric.device).rendered(self.task.size),
            config.micro_batch,
            seed=config.seed * 1_000_003 + progress.step * 4099,
            backward=self.fabric.backward,
        )
        good = bool(terms.total.isfinite()) and self._gradient_is_finite()
        if good:
            self.optimiser.step()
        progress.step += 1
        self._report(terms, good, factor * self.top_lrs[0], len(batch))

    def _leave_out(self, why: str) -> None:
        self.progress.unusable += 1
        self.reporter.on_unusable(1, why)
        self.log.write_unusable(self.progress.step, why)

    def _encode(self, batch: Batch) -> Features:
        with self.fabric.autocast():
            features: Features = self.task(batch)
        return features

    def _gradient_is_finite(self) -> bool:
        limit = self.config.optim.clip_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(list(self.task.trainable().values()), limit)
        return bool(norm.isfinite())

    def _report(self, terms: LossTerms, good: bool, lr: float, samples: int) -> None:
        progress, values = self.progress, terms.values()
        now = time.perf_counter()
        speed, self.clock = samples / (now - self.clock), now
        if good:
            progress.bad_in_a_row = 0
            self.reporter.on_step(Step(progress.step, self.total, progress.epoch, values, lr, speed, 0.0, 0))
            self.log.write("train", progress.step, {**values, "lr": lr, "samples_per_s": speed})
            return
        progress.bad_in_a_row += 1
        progress.skipped += 1
        self.reporter.on_skipped(progress.step, progress.skipped)
        self.log.write("skipped", progress.step, {"skipped": progress.skipped})
        if progress.bad_in_a_row >= self.config.max_bad_steps:
            raise MmiddError(
                f"{progress.bad_in_a_row} steps in a row gave no finite loss or gradient; "
                "lower it with --set optim.lr and start a new run"
            )

    def _validate(self) -> None:
        progress = self.progress
        metrics = validate(self.task, self.data.val, self.config.micro_batch, self._leave_out)
        key = (metrics["video_auc"], metrics["frame_auc"])
        is_best = key > progress.best
        if is_best:
            progress.best, progress.best_epoch = key, progress.epoch
            save_weights(self.run_dir, self.task)
        self.reporter.on_validation(progress.epoch, metrics, is_best)
        self.log.write("val", progress.step, metrics)

    def _save(self) -> None:
        fingerprint = self.data.fingerprint()
        save_state(self.run_dir, self.task, self.optimiser, self.progress, self.stream, fingerprint)

    def _result(self, interrupted: bool) -> TrainResult:
        progress = self.progress
        return TrainResult(
            run_dir=self.run_dir,
            steps=progress.step,
            total_steps=self.total,
            skipped=progress.skipped,
            unusable=progress.unusable,
            best_epoch=progress.best_epoch,
            video_auc=progress.best[0] if progress.best_epoch >= 0 else float("nan"),
            interrupted=interrupted,
        )
