"""What a step does to the weights of a task."""

from __future__ import annotations

from typing import Any

from lightning_fabric import Fabric

from mmidd.training.accumulate import accumulate
from mmidd.training.config import TrainConfig
from mmidd.training.data import Batch
from mmidd.training.ema import Average
from mmidd.training.optimiser import build_optimiser, clip_gradient, uphill
from mmidd.training.parallel import place
from mmidd.training.ranks import Ranks
from mmidd.training.tasks.base import Features, LossTerms, Task

_PER_STEP, _ACTS = 4099, 2048
"""Seeds that a step has; from where on those of what the task itself does."""


class Learner:
    """A task on its device with optimiser and moving average.

    Args:
        task: with its initial weights.
        config: of the run.
        fabric: see `parallel.open_fabric`.

    Raises:
        UsageError: see `parallel.place`.
    """

    def __init__(self, task: Task[Any], config: TrainConfig, fabric: Fabric) -> None:
        place(task, config, fabric)
        self.task, self._config, self._fabric = task, config, fabric
        self.ranks = Ranks(fabric.global_rank, fabric.world_size)
        groups = task.groups()
        self.lr = groups[0].lr if groups else 0.0
        self._top_lrs = [group.lr for group in groups]
        self._trained = list(task.trainable().values())
        self.optimiser = build_optimiser(groups, config.optim)
        self.average = Average(task.learned(), config.optim.ema) if config.optim.ema else None

    def step(self, batch: Batch, number: int, factor: float) -> tuple[LossTerms, bool]:
        """Learn from this rank's share of a batch; gives the loss, and whether both were finite.

        Args:
            batch: as it was loaded.
            number: steps done before.
            factor: share of the top learning rates.
        """
        for group, top in zip(self.optimiser.param_groups, self._top_lrs, strict=False):
            group["lr"] = top * factor
        self.task.train()
        batch = batch.to(self._fabric.device).rendered(self.task.size)
        with self._fabric.autocast():
            batch = self.task.act(batch, number, self._seed(number) + _ACTS + self.ranks.rank)
        terms, good = self._gradient(batch, number)
        if good and (radius := self._config.optim.sam):
            with uphill(self._trained, radius):
                _, good = self._gradient(batch, number)
        if good:
            self.optimiser.step()
            if self.average:
                self.average.update(number + 1)
        return terms, good

    def _gradient(self, batch: Batch, number: int) -> tuple[LossTerms, bool]:
        """The gradient of the global batch, in the parameters."""
        self.optimiser.zero_grad()
        micro_batch, backward = self._config.micro_batch, self._fabric.backward
        terms = accumulate(
            self.task, self._encode, batch, micro_batch, self._seed(number), backward, self.ranks
        )
        if not terms.total.isfinite():
            return terms, False
        self.ranks.average(self._trained)
        return terms, bool(clip_gradient(self._trained, self._config.optim.clip_norm).isfinite())

    def _seed(self, number: int) -> int:
        return self._config.seed * 1_000_003 + number * _PER_STEP

    def _encode(self, batch: Batch) -> Features:
        with self._fabric.autocast():
            features: Features = self.task(batch)
        return features
