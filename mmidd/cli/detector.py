"""The verbs of a detector: train, eval, detect."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from mmidd.cli import options as opt
from mmidd.cli.console import emit, err, find_run, open_workspace, out, say
from mmidd.errors import UsageError
from mmidd.schema import Split


def train(
    method: Annotated[str, typer.Argument(help="Method: lnclip or sd2.")],
    workspace: opt.Workspace = None,
    preset: Annotated[str, typer.Option(help="paper, or tiny for a CPU.")] = "paper",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, as in optim.lr=1e-4.")] = None,
    data: opt.Data = None,
    name: Annotated[str | None, typer.Option(help="Name of the run [METHOD-PRESET].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run where it stopped.")] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Train a detector on the shards; the weights with the best validation video AUC are kept.

    Ctrl-C saves the state first; --resume goes on from there, exactly.

    Examples:
      mmidd train sd2
      mmidd train lnclip --set backbone.weights=/models/clip-vit-l-14.safetensors
      mmidd train lnclip --preset tiny --set epochs=2 --name quick
      mmidd train sd2 --data s3://bucket/shards --set sampling.window=16
    """
    from mmidd.training.config import apply_overrides, load_config, load_preset

    home = open_workspace(workspace, create=data is not None)
    run_dir = home.runs_dir / (name or f"{method}-{preset}")
    exists = (run_dir / "config.yaml").is_file()
    if exists and not resume:
        raise UsageError(f"run {run_dir.name} exists; go on with --resume, or give another --name")
    if resume and not exists:
        raise UsageError(f"there is no run {run_dir.name} to resume; leave --resume out")
    if resume and set_:
        raise UsageError("a resumed run keeps its configuration; leave --set out, or give another --name")
    config = load_config(run_dir / "config.yaml") if resume else load_preset(method, preset)
    config = apply_overrides(config, set_ or [])

    from mmidd.cli.live import TrainView
    from mmidd.training.train import train as run

    with TrainView(quiet=as_json) as view:
        result = run(config, data or home.shards_dir, run_dir, view, resume)
    if as_json:
        emit(vars(result))
    else:
        where = f"{result.steps} of {result.total_steps} steps"
        skipped = f"; {result.skipped} steps skipped (not finite)" if result.skipped else ""
        skipped += f"; {result.unusable:,} samples left out" if result.unusable else ""
        say(
            f"{result.run_dir}: {where}, best epoch {result.best_epoch}, "
            f"validation video AUC {result.video_auc:.3f}{skipped}"
        )
    if result.interrupted:
        say(
            f"stopped; go on with `mmidd train {method} --preset {preset} --name {run_dir.name} --resume`",
            quiet=as_json,
        )
        raise typer.Exit(130)


def evaluate(
    run: Annotated[str, typer.Argument(help="Name or folder of a run.")],
    workspace: opt.Workspace = None,
    data: opt.Data = None,
    split: Annotated[Split, typer.Option(help="Split to report.")] = Split.TEST,
    as_json: opt.AsJson = False,
) -> None:
    """Score a split, print the table and write a one-file HTML report.

    Every score goes to Parquet first and every number comes from that file, with its protocol and a
    95% interval. Thresholds are fitted on the validation split, never on the test split.

    Examples:
      mmidd eval sd2-tiny
      mmidd eval sd2-tiny --data s3://bucket/celeb-df/shards
    """
    from mmidd.evaluation.evaluate import evaluate as score
    from mmidd.evaluation.evaluate import evaluation_dir
    from mmidd.evaluation.results import REPORT_FILE
    from mmidd.evaluation.view import summary_table

    home = open_workspace(workspace, create=data is not None)
    run_dir, shards = find_run(home, run), data or home.shards_dir
    with Progress(console=err, disable=as_json, transient=True) as progress:
        task = progress.add_task(f"score {run_dir.name}", total=None)
        evaluation = score(
            run_dir,
            shards,
            split,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    report = evaluation_dir(run_dir, shards) / REPORT_FILE
    if as_json:
        emit({**evaluation.model_dump(mode="json"), "report": str(report)})
        return
    out.print(summary_table(evaluation))
    say(f"report: {report}")


def detect(
    paths: Annotated[list[Path], typer.Argument(help="Images, videos or folders.")],
    workspace: opt.Workspace = None,
    run: Annotated[str | None, typer.Option(help="Name or folder of a run (default: the only one).")] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Say of images, videos or every file of a folder whether the face is real or fake.

    Faces are found and cropped exactly as in training. A file without a verdict is listed with the
    reason, and the exit code is then 1.

    Examples:
      mmidd detect clip.mp4 photo.jpg --run sd2-tiny
      mmidd detect ./inbox --run sd2-tiny --json
    """
    from mmidd.detection.predictor import Predictor

    run_dir = (
        Path(run)
        if run and (Path(run) / "config.yaml").is_file()
        else find_run(open_workspace(workspace), run)
    )
    predictor, verdicts = Predictor.load(run_dir), []
    for verdict in chain.from_iterable(predictor.detect(path) for path in paths):
        verdicts.append(verdict)
        say(verdict.describe(), quiet=as_json)
    if as_json:
        emit([verdict.model_dump(mode="json") for verdict in verdicts])
    if any(verdict.error for verdict in verdicts):
        raise typer.Exit(1)
