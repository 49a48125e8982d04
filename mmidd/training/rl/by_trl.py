"""Stage 2 of LTDD by TRL's trainer, for a policy without a specialist."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lightning_fabric import Fabric
from PIL import Image

from mmidd.errors import UsageError
from mmidd.shards.index import ShardIndex
from mmidd.storage import open_folder
from mmidd.training.best import Best
from mmidd.training.checkpoint import Progress, start_run
from mmidd.training.config import LtddRlConfig
from mmidd.training.data import TrainingData, as_batch, open_data, train_stream
from mmidd.training.loop import TrainResult
from mmidd.training.rl.with_trl import Row, train_with_trl
from mmidd.training.tasks.ltdd_rl import LABELS, LtddRl
from mmidd.training.trained import trained_state
from mmidd.training.validate import validate


def train_by_trl(
    config: LtddRlConfig, shards: Path | str, run_dir: Path, fabric: Fabric, use_vllm: bool = False
) -> TrainResult:
    """Train on the shards in TRL's way, validate once, and keep the weights as any run does.

    A run that is stopped begins again: TRL's state is not kept.

    Args:
        config: resolved configuration.
        shards: folder with train and val shards, a path or URL.
        run_dir: folder of the run, new.
        fabric: says where it trains.
        use_vllm: whether vLLM writes the completions.

    Raises:
        UsageError: the policy has a specialist, whose tokens TRL's trainer would lose; see `train_with_trl`.
        MissingExtra: TRL or vLLM is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL tells that it is used
    data, spec = open_data(shards, config), ShardIndex.load(open_folder(shards)).spec
    task = LtddRl(config.beside(run_dir.parent))
    if task.specialist:
        raise UsageError(
            "TRL's trainer would lose the specialist's tokens; leave --trainer out, or train stage 1 with "
            "--set specialist=null"
        )
    task.start(spec)
    task.to(fabric.device)
    per_epoch = train_stream(data, config, task.size).planned.steps
    steps = min(per_epoch * config.epochs, config.max_steps or per_epoch * config.epochs)
    start_run(run_dir, config, spec)
    generalist, rows = task.generalist, _Rows(data, config, task.size, task.own.questions.explain)
    train_with_trl(generalist.model, generalist.processor, rows, config, run_dir, steps, use_vllm)
    progress = Progress(step=steps)
    best = Best(run_dir, config, progress, task.references())
    metrics = validate(task, data.val, config.validation, config.micro_batch, lambda reasons: None)
    best.offer(metrics, trained_state(task), write=True)
    return TrainResult(run_dir, steps, steps, 0, 0, best.epoch, best.video_auc, interrupted=False)


class _Rows:
    """What TRL asks of an epoch, as often as it begins one."""

    def __init__(self, data: TrainingData, config: LtddRlConfig, size: int, question: str) -> None:
        self._of, self._question = (data, config, size), question

    def __iter__(self) -> Iterator[Row]:
        with train_stream(*self._of) as stream:
            for loaded in stream:
                batch = as_batch(loaded).rendered(self._of[2])
                for image, label in zip(batch.images.numpy(), batch.label.tolist(), strict=True):
                    asked = [{"role": "user", "content": self._question}]
                    yield {"prompt": asked, "image": Image.fromarray(image), "label": LABELS[label]}
