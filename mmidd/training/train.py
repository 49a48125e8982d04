"""Train a method on a folder of shards."""

from __future__ import annotations

from pathlib import Path

from mmidd.shards.index import ShardIndex
from mmidd.storage import open_folder
from mmidd.training.checkpoint import start_run
from mmidd.training.config import TrainConfig
from mmidd.training.data import open_data
from mmidd.training.loop import Loop, TrainResult
from mmidd.training.parallel import open_fabric
from mmidd.training.report import Reporter
from mmidd.training.tasks import build_task


def train(
    config: TrainConfig, shards: Path | str, run_dir: Path, reporter: Reporter, resume: bool = False
) -> TrainResult:
    """Train to the end, or to SIGTERM or Ctrl-C, after which `resume` goes on exactly there.

    Under `torchrun` every process calls this alike, and all train one run together.

    Args:
        config: resolved configuration; its class is the method.
        shards: folder with train and val shards, a path or URL; test shards are never opened.
        run_dir: folder of the run, new unless `resume`.
        reporter: live view.
        resume: go on with the run in `run_dir`.

    Raises:
        UsageError: see `TrainingData`, `load_clip`, `Task.start`, `start_run`, `read_state` and `Loop`.
    """
    fabric = open_fabric(config)
    data, spec = open_data(shards, config), ShardIndex.load(open_folder(shards)).spec
    task = build_task(config.beside(run_dir.parent))
    if task.needs_captions:
        data.require_captions()
    if not resume:
        task.start(spec)
    loop = Loop(task, data, config, run_dir, reporter, fabric)
    if not resume and fabric.global_rank == 0:
        start_run(run_dir, config, spec)
    fabric.barrier()
    return loop.run(resume)
