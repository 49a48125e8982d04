"""Who trains in the training benchmark: `python -m benchmarks.training_contenders NAME JOB`.

A name is who, from where, and whether compiled:

- `mmidd`: our loop. `plain`: a loop over autocast, AdamW and a DataLoader. `lightning`: its Trainer.
- `memory`: the same uint8 batch on the device in every step. `files`: shards for us, for the others the same
  JPEGs one by one, with PIL and torchvision.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.training_loops import batches_of, in_memory, plain, with_lightning
from benchmarks.training_reference import reference
from benchmarks.training_turns import Job, Turns
from benchmarks.training_world import memory_batch
from mmidd.training.config import TrainConfig
from mmidd.training.learner import Learner
from mmidd.training.parallel import open_fabric
from mmidd.training.report import SilentReporter, Step
from mmidd.training.tasks import build_task
from mmidd.training.train import train


def main() -> None:
    """Train without end."""
    name, job = sys.argv[1], Job(**json.loads(sys.argv[2]))
    who, source, *compiled = name.split(", ")
    config, turns = job.config(bool(compiled)), Turns(job.cuda)
    if who != "mmidd":
        theirs(config, job, turns, who, source)
    elif source == "files":
        ours_from_files(config, job, turns)
    else:
        ours_from_memory(config, job, turns)


class Reported(SilentReporter):
    """Takes turns at every step of our loop."""

    def __init__(self, turns: Turns, batch: int) -> None:
        self.turns, self.batch = turns, batch

    def on_step(self, step: Step) -> None:
        """A step is done."""
        self.turns.step(step.data_wait * self.batch / step.samples_per_s)


def ours_from_files(config: TrainConfig, job: Job, turns: Turns) -> None:
    """All that `mmidd train` does."""
    with tempfile.TemporaryDirectory() as folder:
        turns.ready({})
        train(config, job.world.shards, Path(folder, "run"), Reported(turns, job.batch))


def ours_from_memory(config: TrainConfig, job: Job, turns: Turns) -> None:
    """What the loop does with a batch."""
    task, fabric = build_task(config), open_fabric(config)
    learner = Learner(task, config, fabric)
    batch = memory_batch(job.batch, task.size).to(fabric.device)
    turns.ready(
        {
            "loss": first_loss(task, lambda draws: task.losses(task(batch), batch, draws).total),
            "trained": sum(p.numel() for p in task.trainable().values()),
        }
    )
    for number in itertools.count():
        terms, _ = learner.step(batch, number, factor=1.0)
        terms.values()
        turns.step(0.0)


def theirs(config: TrainConfig, job: Job, turns: Turns, who: str, source: str) -> None:
    """A loop of others around the reference."""
    device = torch.device("cuda" if job.cuda else "cpu")
    task = build_task(config)
    model, size = reference(task).to(device), task.size
    item = {name: x.to(device) for name, x in in_memory(job.batch, size, model.context).items()}
    loss = first_loss(model, lambda draws: model(item, draws))
    if config.gradient_checkpointing:
        model.checkpoint()
    if config.compile:
        model.compile_encoders()
    turns.ready({"loss": loss, "trained": sum(p.numel() for p in model.parameters() if p.requires_grad)})
    fit = plain if who == "plain" else with_lightning
    fit(model, config, batches_of(job, config, model, size, source), turns)


def first_loss(model: torch.nn.Module, loss: Callable[[torch.Generator], Tensor]) -> float:
    """Of the batch in memory, without dropout and in float32, by equal draws: the same for all."""
    model.eval()
    with torch.no_grad():
        value = float(loss(torch.Generator().manual_seed(0)))
    model.train()
    return value


if __name__ == "__main__":
    main()
