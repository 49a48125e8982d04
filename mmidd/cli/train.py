"""The verb `train`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmidd.cli import options as opt
from mmidd.cli.console import emit, open_workspace, say
from mmidd.cli.which_run import building_on, default_preset, is_first, new_run, of_stage, resumed_run
from mmidd.errors import MmiddError, UsageError

if TYPE_CHECKING:
    from mmidd.training.config import TrainConfig
    from mmidd.training.loop import TrainResult

_METHODS = (
    "sd2, lnclip, kfd or ltdd; or a baseline: linear, full, clip-lora, effort, xception, effnetb4, sbi, "
    "zeroshot. docs/training.md says what each is."
)
_PRESETS = (
    "paper, small or tiny (sd2 and lnclip also have paper-sbi and tiny-sbi, and lnclip has gend, dinov3 and "
    "pe, and kfd has tiny-long), or a YAML file, such as that of a run to repeat. Default: paper with a GPU, "
    "tiny without."
)


def train(
    method: Annotated[str, typer.Argument(help=_METHODS)],
    workspace: opt.Workspace = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A later stage of the method: kfd has llm, a language model on top of a run of kfd; ltdd "
            "has rl, which teaches a run of ltdd to explain.",
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Run to build on, by name or folder: of a stage the one before, of ltdd the specialist "
            "[the only one].",
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME|FILE", help=_PRESETS)] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, as in optim.lr=1e-4.")] = None,
    data: opt.Data = None,
    name: Annotated[str | None, typer.Option(help="Name of the run [METHOD-PRESET].")] = None,
    trainer: Annotated[
        Literal["own", "trl"],
        typer.Option(help="Of stage rl: TRL's GRPOTrainer, for a policy without a specialist (extra rl)."),
    ] = "own",
    vllm: Annotated[bool, typer.Option("--vllm", help="With --trainer trl: vLLM writes.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run where it stopped.")] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Train a detector on the shards; the weights of the best epoch on the validation split are kept.

    Ctrl-C saves the state first; --resume goes on from there, exactly.

    Examples:
      mmidd train sd2
      mmidd train lnclip --set backbone.weights=/models/clip-vit-l-14.safetensors
      mmidd train lnclip --preset tiny --set epochs=2 --name quick
      mmidd train sd2 --preset mmidd-data/runs/sd2-tiny/config.yaml --name again
      mmidd train kfd && mmidd train kfd --stage llm
      mmidd train ltdd --from lnclip-paper && mmidd train ltdd --stage rl
      mmidd train sd2 --data s3://bucket/shards --set wandb=deepfakes
      torchrun --nproc-per-node 8 --no-python mmidd train sd2
    """
    quiet, method = as_json or not is_first(), of_stage(method, stage)
    home = open_workspace(workspace, create=data is not None)
    if resume and (set_ or from_):
        raise UsageError(
            "a resumed run keeps its configuration; leave --set and --from out, or give another --name"
        )
    if (trainer == "trl" and (method != "ltdd-rl" or resume)) or (vllm and trainer != "trl"):
        raise UsageError(
            "--trainer trl begins a run of `train ltdd --stage rl`, and --vllm goes with it; leave them out"
        )
    if resume:
        run_dir, config = resumed_run(home.runs_dir, method, preset, name)
    else:
        preset = preset or default_preset(method, quiet)
        run_dir, config = new_run(
            home.runs_dir, method, preset, name, [*(set_ or []), *building_on(method, from_)]
        )
    shards = data or home.shards_dir
    if trainer == "trl":
        result = run_trl(config, shards, run_dir, vllm)
    else:
        result = run_training(config, shards, run_dir, resume, quiet)
    if as_json and is_first():
        emit({"preset": preset, **vars(result)})
    say(summary(result), quiet=quiet)
    if result.interrupted:
        places = [*(["--data", data] if data else []), *(["-w", str(workspace)] if workspace else [])]
        again = shlex.join(["mmidd", "train", method, "--name", run_dir.name, *places, "--resume"])
        say(f"stopped; go on with `{again}`", quiet=quiet)
        raise typer.Exit(130)


def run_training(
    config: TrainConfig, shards: Path | str, run_dir: Path, resume: bool, quiet: bool
) -> TrainResult:
    """Train with a live view; see `training.train`.

    Raises:
        MmiddError: the GPU's memory is full; says what to do.
        UsageError: see `training.train`.
    """
    import torch

    from mmidd.cli.live import TrainView
    from mmidd.training.log import wandb_package
    from mmidd.training.report import SilentReporter
    from mmidd.training.train import train as run

    if config.wandb:
        wandb_package()
    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        say(use_all(torch.cuda.device_count(), sys.argv[1:]), quiet=quiet)
    for name, weights in config.loads():
        say(f"loading {name} with weights {weights}", quiet=quiet)
    try:
        with TrainView(quiet=quiet) if is_first() else nullcontext(SilentReporter()) as view:
            return run(config, shards, run_dir, view, resume)
    except torch.OutOfMemoryError:
        smaller = "batch" if config.normalises_over_the_batch else "micro_batch"
        raise MmiddError(
            f"the GPU's memory is full; start a new run with {smaller} below {config.micro_batch}, "
            "or with --set gradient_checkpointing=true"
        ) from None


def run_trl(config: TrainConfig, shards: Path | str, run_dir: Path, vllm: bool) -> TrainResult:
    """Train by TRL's trainer; see `training.rl.by_trl`."""
    from mmidd.training.config import LtddRlConfig
    from mmidd.training.parallel import open_fabric
    from mmidd.training.rl.by_trl import train_by_trl

    assert isinstance(config, LtddRlConfig)
    return train_by_trl(config, shards, run_dir, open_fabric(config), vllm)


def use_all(gpus: int, arguments: Sequence[str]) -> str:
    """How the same command trains on all GPUs of this machine."""
    command = f"torchrun --nproc-per-node {gpus} --no-python mmidd {shlex.join(arguments)}"
    return f"{gpus} GPUs are visible and one is used; for all of them: `{command}`"


def summary(result: TrainResult) -> str:
    """How a run ended."""
    skipped = f"; {result.skipped} steps skipped (not finite)" if result.skipped else ""
    unusable = f"; {result.unusable:,} samples left out" if result.unusable else ""
    return (
        f"{result.run_dir}: {result.steps} of {result.total_steps} steps, best epoch {result.best_epoch}, "
        f"validation video AUC {result.video_auc:.3f}{skipped}{unusable}"
    )
