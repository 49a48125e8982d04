"""What each process of the tests in test_training_ranks.py does, started by torchrun."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from mmidd.spec import PreprocessSpec
from mmidd.training.accumulate import accumulate
from mmidd.training.checkpoint import start_run
from mmidd.training.config import KfdConfig, TrainConfig
from mmidd.training.loop import Loop, TrainResult
from mmidd.training.optimiser import clip_gradient
from mmidd.training.parallel import open_fabric, place, whole
from mmidd.training.ranks import Ranks
from mmidd.training.report import SilentReporter, Step
from mmidd.training.tasks import build_task
from tests.training.kfd_world import kfd_config, pairs
from tests.training.training_world import memory_data, random_batch, small_config

# AdamW magnifies the rounding of LoRA's first gradients.
SGD = ("optim.name=sgd", "optim.lr=0.01", "optim.new_lr=0.01")
TRAINED = {
    "lnclip": small_config("lnclip", "optim.ema=0.9", "micro_batch=3", "epochs=2"),
    "sd2": small_config("sd2", "trainable=lora", "lora.dropout=0", *SGD, "micro_batch=3", "epochs=2"),
    "fsdp": small_config("sd2", "trainable=lora", "lora.dropout=0", *SGD, "strategy=fsdp", "epochs=2"),
}
GRADIENTS = {
    "one pass": small_config("sd2", "micro_batch=64"),
    "micro-batches": small_config("sd2", "micro_batch=2"),
    "kfd": kfd_config("micro_batch=2", "trainable=all"),
    "slerp": small_config("lnclip", "variant=lnclip-df", "micro_batch=2"),
    "fsdp": small_config("lnclip", "strategy=fsdp", "micro_batch=3", "gradient_checkpointing=true"),
}
STOP_AT = 3


class Stopper(SilentReporter):
    """Sends a signal to one of the processes after a step."""

    def on_step(self, step: Step) -> None:
        if step.number == STOP_AT:
            os.kill(os.getpid(), signal.SIGTERM)


def gradient(config: TrainConfig) -> dict[str, Any]:
    """Of a batch of 11, of which the first rank has 4 and the second 7; its loss and norm."""
    fabric, task = open_fabric(config), build_task(config).train()
    place(task, config, fabric)
    ranks = Ranks(fabric.global_rank, fabric.world_size)
    batch = pairs(6)[:11] if isinstance(config, KfdConfig) else random_batch(11, 32)
    mine = [batch] if ranks.count == 1 else [batch[:4], batch[4:]]
    terms = accumulate(task, task, mine[ranks.rank], config.micro_batch, 7, torch.Tensor.backward, ranks)
    trained = task.trainable()
    ranks.average(trained.values())
    norm = clip_gradient(trained.values(), 1e-3)
    gradients = {name: whole(p.grad) for name, p in trained.items() if p.grad is not None}
    return {"loss": terms.values(), "norm": float(norm), "gradients": gradients}


def train(config: TrainConfig, run_dir: Path, resume: bool, stop: bool = False) -> TrainResult:
    """A run, or what is left of it."""
    fabric = open_fabric(config)
    reporter = Stopper() if stop else SilentReporter()
    loop = Loop(build_task(config), memory_data(), config, run_dir, reporter, fabric)
    if not resume and fabric.global_rank == 0:
        start_run(run_dir, config, PreprocessSpec())
    fabric.barrier()
    return loop.run(resume)


def main(out: Path) -> None:
    """All gradients, and every run up to a signal that reaches the first process alone."""
    found: dict[str, Any] = {name: gradient(config) for name, config in GRADIENTS.items()}
    for name, config in TRAINED.items():
        found[f"steps of {name}"] = train(config, out / name, resume=False, stop=True).steps
    if int(os.environ["RANK"]) == 0:
        torch.save(found, out / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
