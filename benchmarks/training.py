"""Images per second, memory and model FLOP utilisation of training, against a plain loop and Lightning's.

    pip install lightning
    python -m benchmarks.training --size large --compile --out benchmarks/results/training.json
    python -m benchmarks.training --shards WORKSPACE/shards --out benchmarks/results/training.json  # tiny

All train the same network from the same weights with the same loss, in turns, each in a process of its own;
`large` is ViT-L/14 with random weights, on a GPU only. What a name stands for: `training_contenders`. Medians
of rounds, each after steps that do not count; ratios are within a round. Utilisation is the model's FLOPs
(`training_flops`) over the bf16 matrix rate that is measured in the same run. Memory is what tensors take on
a GPU, and the largest size of the training process on a CPU. Figures are kept by the device they come from.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.training_flops import check, matrix_rate, of_step
from benchmarks.training_turns import Contender, Job
from benchmarks.training_world import build, memory_batch
from mmidd.training.config import apply_overrides, load_preset
from mmidd.training.report import SilentReporter, Step
from mmidd.training.tasks import build_task
from mmidd.training.train import train

METHODS = ("lnclip", "sd2")
WHO = ("mmidd", "plain", "lightning")
CLASSES = 5
Rounds = dict[str, list[dict[str, float]]]


def main() -> None:
    """Measure what was asked for and keep it beside what other devices gave."""
    given = arguments()
    device = torch.device(given.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores"
    rate = matrix_rate(device)
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "load_before": round(os.getloadavg()[0], 1),
        "bf16_matrix_tflops": round(rate / 1e12, 3),
    }
    for method in given.method or METHODS:
        found[method] = measured(given, method, rate)
        print(json.dumps({method: found[method]}, indent=1), flush=True)
    if given.shards:
        found["data_wait_of_preset_tiny"] = {method: data_wait(method, given.shards) for method in METHODS}
    if given.out:
        keep(given.out, f"{name}, {given.size}", found)


def arguments() -> argparse.Namespace:
    """The options; a device that is not here is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=("tiny", "large"), default="tiny")
    parser.add_argument("--device", choices=("cuda", "cpu"))
    parser.add_argument("--method", choices=METHODS, action="append")
    parser.add_argument("--batch", type=int, help="default: 256, and 32 for tiny")
    parser.add_argument("--compile", action="store_true", help="everyone once more through torch.compile")
    parser.add_argument("--checkpointing", action="store_true", help="everyone with gradient checkpointing")
    parser.add_argument("--workers", type=int, default=min(12, (os.cpu_count() or 2) - 1))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--warm", type=int, default=5, help="steps before each round")
    parser.add_argument("--shards", type=Path, help="also: the data-wait share of preset tiny on these")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    given.batch = given.batch or (256 if given.size == "large" else 32)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no GPU, so there is nothing to measure; use --device cpu --size tiny")
    if given.device == "cpu" and given.size == "large":
        parser.error("ViT-L/14 is for a GPU; use --size tiny")
    return given


def measured(given: argparse.Namespace, method: str, rate: float) -> dict[str, Any]:
    """Everyone's figures for a method."""
    names = [f"{who}, {source}" for source in ("memory", "files") for who in WHO]
    names += [f"{name}, compiled" for name in names if given.compile]
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            method=method,  # type: ignore[arg-type]
            size=given.size,
            batch=given.batch,
            workers=given.workers,
            folder=folder,
            cuda=given.device == "cuda",
            checkpointing=given.checkpointing,
        )
        steps = (given.warm + given.steps) * given.rounds
        build(job.world.root, given.batch * (steps + 2), 256 if given.size == "large" else 64)
        check(Job(**{**vars(job), "size": "tiny"}).config(), memory_batch(4, 64))
        contenders = [Contender(name, "benchmarks.training_contenders", job) for name in names]
        rounds: Rounds = {name: [] for name in names}
        for contender in contenders:
            contender.wait()
        for _ in range(given.rounds):
            for contender in contenders:
                rounds[contender.name].append(contender.round(given.warm, given.steps))
        for contender in contenders:
            contender.close()
    flops = flops_of(job)
    return {
        "batch": given.batch,
        "teraflops_of_a_step": round(flops / 1e12, 4),
        "gradient_checkpointing": given.checkpointing,
        **summary(rounds, given.batch * given.steps, flops * given.steps / rate),
        **agreement(contenders),
    }


def flops_of(job: Job) -> int:
    """Of a step; the network is built without weights."""
    config = job.config()
    with torch.device("meta"):
        task = build_task(config)
    return of_step(task, config, job.batch, 2 * job.batch + CLASSES)


def summary(rounds: Rounds, images: int, least_seconds: float) -> dict[str, Any]:
    """Medians over rounds, and of the ratios within them."""

    def median(name: str, value: Any) -> float:
        return float(f"{statistics.median(map(value, rounds[name])):.4g}")

    def faster(name: str, other: str) -> float:
        both = zip(rounds[name], rounds[other], strict=True)
        return round(statistics.median(b["seconds"] / a["seconds"] for a, b in both), 3)

    ours = [name for name in rounds if "mmidd" in name]
    others = {name: {name.replace("mmidd", who) for who in WHO[1:]} for name in ours}
    for name in ours:
        others[name] |= {other.removesuffix(", compiled") for other in others[name]}
    return {
        "images_per_s": {name: median(name, lambda r: images / r["seconds"]) for name in rounds},
        "utilisation": {name: median(name, lambda r: least_seconds / r["seconds"]) for name in rounds},
        "peak_gib": {name: median(name, lambda r: r["bytes"] / 2**30) for name in rounds},
        "data_wait": {name: median(name, lambda r: r["waited"]) for name in rounds if "files" in name},
        "over": {name: {other: faster(name, other) for other in sorted(others[name])} for name in ours},
    }


def agreement(contenders: Sequence[Contender]) -> dict[str, float]:
    """The loss of the first batch and how many weights learn, the same for everyone who said it.

    Raises:
        AssertionError: they differ.
    """
    said: list[Mapping[str, float]] = [one.about for one in contenders if one.about]
    losses, trained = {one["loss"] for one in said}, {one["trained"] for one in said}
    assert max(losses) - min(losses) < 1e-3 * abs(min(losses)), losses
    assert len(trained) == 1, trained
    return {"first_loss": round(min(losses), 4), "trained_weights": trained.pop()}


class Waiting(SilentReporter):
    """Collects the share of every step that is spent waiting for data."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def on_step(self, step: Step) -> None:
        """A step is done."""
        self.shares.append(step.data_wait)


def data_wait(method: str, shards: Path) -> float:
    """Median share over two hundred steps of `mmidd train METHOD --preset tiny`."""
    config = apply_overrides(load_preset(method, "tiny"), ["max_steps=200"])
    waiting = Waiting()
    with tempfile.TemporaryDirectory() as folder:
        train(config, shards, Path(folder, "run"), waiting)
    return round(statistics.median(waiting.shares), 4)


def keep(path: Path, device: str, found: dict[str, Any]) -> None:
    """Write the figures of a device, and leave those of others."""
    others = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**others, device: found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
