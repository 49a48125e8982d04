"""A step of GRPO: this loop against TRL's trainer, on the same model, pictures, rewards and settings.

    python -m benchmarks.grpo --steps 10 --rounds 3 --out benchmarks/results/grpo.json

A step writes `--group` explanations of each of `--images` pictures, scores them and learns from them. The
model is a small random Qwen2-VL without a specialist, whose tokens TRL would lose. Both run in this process,
in turn; a step's time is the difference of a long and a short run by the number of steps between.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from mmidd.training.accumulate import accumulate
from mmidd.training.config import LtddRlConfig, load_preset
from mmidd.training.data import Batch
from mmidd.training.optimiser import build_optimiser
from mmidd.training.rl.with_trl import Row, train_with_trl
from mmidd.training.tasks.ltdd_rl import LABELS, LtddRl

SHORT = 2


def main() -> None:
    """Measure both in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    warnings.simplefilter("ignore")
    config, batch = settings(given.images, given.group, given.tokens), pictures(given.images)
    rounds = [
        {name: per_step(run, config, batch, given.steps) for name, run in (("ours", ours), ("trl", trl))}
        for _ in range(given.rounds)
    ]
    found = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    result = {
        "settings": {key: value for key, value in vars(given).items() if key != "out"},
        "threads": torch.get_num_threads(),
        "seconds_per_step": found,
        "rounds": rounds,
        "ratio": found["trl"] / found["ours"],
    }
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


def settings(images: int, group: int, tokens: int) -> LtddRlConfig:
    """The preset tiny without a specialist; as many completions pass the model at once in both."""
    first = load_preset("ltdd", "tiny").model_copy(update={"specialist": None})
    own = load_preset("ltdd-rl", "tiny").model_dump()
    own |= {"first_stage": first, "form_steps": 0, "batch": images, "micro_batch": images}
    own["grpo"] |= {"group": group, "max_new_tokens": tokens, "collapse": {"window": 10_000}}
    return LtddRlConfig.model_validate(own)


def pictures(count: int) -> Batch:
    """Noise of the model's size."""
    size = load_preset("ltdd", "tiny").model_dump()["mllm"]["image_size"]
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, size, size, 3), generator=draws).to(torch.uint8)
    label, names = torch.arange(count) % 2, tuple(map(str, range(count)))
    return Batch(images, label, label, (None,) * count, (None,) * count, names, names)


def per_step(run: object, config: LtddRlConfig, batch: Batch, steps: int) -> float:
    """Seconds."""
    assert callable(run)
    times = []
    for count in (SHORT, SHORT + steps):
        task = LtddRl(config)
        started = time.perf_counter()
        run(task, batch, count)
        times.append(time.perf_counter() - started)
    return (times[1] - times[0]) / steps


def ours(task: LtddRl, batch: Batch, steps: int) -> None:
    """What the loop does in a step."""
    optimiser = build_optimiser(task.groups(), task.config.optim)
    for step in range(steps):
        optimiser.zero_grad()
        acted = task.train().act(batch, step, seed=step)
        accumulate(task, task, acted, task.config.micro_batch, step, torch.autograd.backward)
        torch.nn.utils.clip_grad_norm_(list(task.trainable().values()), task.config.optim.clip_norm or 1.0)
        optimiser.step()


def trl(task: LtddRl, batch: Batch, steps: int) -> None:
    """TRL's trainer."""
    config = task.config.model_copy(update={"micro_batch": task.config.batch * task.config.grpo.group})

    class Rows:
        def __iter__(self) -> Iterator[Row]:
            for image, label in zip(batch.images.numpy(), batch.label.tolist(), strict=True):
                asked = [{"role": "user", "content": task.own.questions.explain}]
                yield {"prompt": asked, "image": Image.fromarray(image), "label": LABELS[label]}

    with tempfile.TemporaryDirectory() as folder:
        model, processor = task.generalist.model, task.generalist.processor
        train_with_trl(model, processor, Rows(), config, Path(folder), steps)


if __name__ == "__main__":
    main()
