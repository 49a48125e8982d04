"""The verbs of a trained detector: eval, detect."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from mmidd.cli import options as opt
from mmidd.cli.console import best_device, emit, err, find_run, open_workspace, out, run_folder, say
from mmidd.schema import Split


def evaluate(
    run: Annotated[str, typer.Argument(help="Name or folder of a run.")],
    workspace: opt.Workspace = None,
    data: opt.Data = None,
    split: Annotated[Split, typer.Option(help="Split to report.")] = Split.TEST,
    simulated: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of the fakes, forge every real by this recipe (sbi, regional, regional-alpha or "
            "regional-poisson): masks and regions are then known. May be given several times."
        ),
    ] = None,
    answers: Annotated[
        bool,
        typer.Option(
            "--answers",
            help="Let a run of `train kfd --stage llm` or `train ltdd` write about every frame. Without it "
            "only its first token is read: one pass of the language model instead of one per word.",
        ),
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Score a split, print the table and write a one-file HTML report.

    Every score goes to Parquet first and every number comes from that file, with its protocol and a
    95% interval. Thresholds are fitted on the validation split, never on the test split. A run that marks
    forged pixels is also measured against masks, where forgeries have one.

    Examples:
      mmidd eval sd2-tiny
      mmidd eval sd2-tiny --data s3://bucket/celeb-df/shards
      mmidd eval kfd-tiny --simulated regional
      mmidd eval kfd-llm-tiny --simulated regional --answers
    """
    from mmidd.evaluation.details import details
    from mmidd.evaluation.evaluate import evaluate as score
    from mmidd.evaluation.evaluate import evaluation_dir
    from mmidd.evaluation.results import REPORT_FILE
    from mmidd.evaluation.view import summary_table
    from mmidd.preprocess.simulate import check_recipe

    recipes = [check_recipe(name) for name in simulated or ()]
    home = open_workspace(workspace, create=data is not None)
    run_dir, shards = find_run(home, run), data or home.shards_dir
    device = best_device()
    with Progress(console=err, disable=as_json, transient=True) as progress:
        task = progress.add_task(f"score {run_dir.name} on {device}", total=None)
        evaluation = score(
            run_dir,
            shards,
            split,
            device=device,
            simulated=recipes,
            answers=answers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    report = evaluation_dir(run_dir, shards, recipes) / REPORT_FILE
    if as_json:
        emit({**evaluation.model_dump(mode="json"), "report": str(report)})
        return
    out.print(summary_table(evaluation))
    for part in details(evaluation):
        out.print(part.table())
    say(f"scored on {device}; report: {report}")


def detect(
    paths: Annotated[list[Path], typer.Argument(help="Images, videos or folders.")],
    workspace: opt.Workspace = None,
    run: Annotated[str | None, typer.Option(help="Name or folder of a run (default: the only one).")] = None,
    maps: Annotated[
        Path | None,
        typer.Option(help="Folder for a picture per file of where it is forged, on its most suspect frame."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            help="Have a run of `train ltdd` describe what it sees before it decides, on that frame."
        ),
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Say of images, videos or every file of a folder whether the face is real or fake.

    Faces are found and cropped exactly as in training. A file without a verdict is listed with the
    reason, and the exit code is then 1. A run of `train kfd --stage llm` also answers in words.

    Examples:
      mmidd detect clip.mp4 photo.jpg --run sd2-tiny
      mmidd detect ./inbox --run sd2-tiny --json
      mmidd detect clip.mp4 --run kfd-tiny --maps ./maps
      mmidd detect photo.jpg --run ltdd-rl-tiny --explain
    """
    from mmidd.detection.predictor import Predictor

    run_dir = run_folder(workspace, run)
    predictor, verdicts = Predictor.load(run_dir, best_device(), maps, explain), []
    for verdict in chain.from_iterable(predictor.detect(path) for path in paths):
        verdicts.append(verdict)
        say(verdict.describe(), quiet=as_json)
    if as_json:
        emit([verdict.model_dump(mode="json") for verdict in verdicts])
    if any(verdict.error for verdict in verdicts):
        raise typer.Exit(1)
