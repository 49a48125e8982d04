"""The verb `recipe`: experiments of several runs, each as one command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmidd.cli import options as opt
from mmidd.cli.console import best_device, emit, find_run, open_workspace, out, say
from mmidd.cli.train import run_training, summary
from mmidd.cli.which_run import default_preset, planned
from mmidd.errors import UsageError

if TYPE_CHECKING:
    from mmidd.recipes.data_efficiency import Trial
    from mmidd.recipes.efficiency_table import Row

app = typer.Typer(
    no_args_is_help=True,
    help="Experiments of several runs.\n\nExample: [b]mmidd recipe data-efficiency kfd[/b]",
    rich_markup_mode="rich",
)


@app.callback()
def _group() -> None:
    """Keeps the recipe's name in the command."""


@app.command("data-efficiency")
def data_efficiency(
    method: Annotated[str, typer.Argument(help="One that draws its forgeries online, such as kfd or sbi.")],
    workspace: opt.Workspace = None,
    images: Annotated[str, typer.Option(help="Numbers of real images.")] = "50,100,200,500",
    preset: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="As in `mmidd train`.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, as in optim.lr=1e-4.")] = None,
    data: opt.Data = None,
    test_data: Annotated[
        list[str] | None,
        typer.Option(help="Shards to evaluate on, may be given several times (default: those of training)."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Start of the runs' names [METHOD-PRESET].")] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Train on few real images, more and more of them, and compare on the test split.

    Every run takes as many steps, and its images are among those of the larger ones. Run again it goes on
    where it stopped: what is trained and evaluated is not done again. The table is also written to
    recipes/ in the workspace, as JSON and CSV.

    Examples:
      mmidd recipe data-efficiency kfd
      mmidd recipe data-efficiency kfd --images 50,500 --set epochs=10 --name quick
      mmidd recipe data-efficiency kfd --test-data celeb-df/shards --test-data dfdc/shards
    """
    from mmidd.recipes.data_efficiency import trials
    from mmidd.recipes.efficiency_table import Efficiency

    if "WORLD_SIZE" in os.environ:
        raise UsageError("a recipe is one process; start single runs with torchrun, as docs/kfd.md says")
    counts = _counts(images)
    home = open_workspace(workspace, create=data is not None)
    shards = data or home.shards_dir
    preset = preset or default_preset(method, as_json)
    start, config = planned(home.runs_dir, method, preset, name, set_ or [])
    tests: Sequence[Path | str] = test_data or [shards]
    rows = [_done(trial, shards, tests, as_json) for trial in trials(start, config, counts)]
    result = Efficiency(method=method, rows=tuple(rows))
    files = result.write(home.root / "recipes", f"data-efficiency-{start.name}")
    if as_json:
        emit(result.document())
        return
    out.print(result.table())
    say(f"written: {', '.join(map(str, files))}")


@app.command("regularisation")
def regularisation(
    runs: Annotated[list[str], typer.Argument(help="Names or folders of runs, such as one of each stage.")],
    workspace: opt.Workspace = None,
    data: opt.Data = None,
    test_data: Annotated[
        list[str] | None,
        typer.Option(help="Shards that the runs were not trained on, may be given several times."),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="Run that features are compared with, may be given several times [the first run]."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Most of a video whose features are taken.")] = 8,
    name: Annotated[str | None, typer.Option(help="Of the table [that of the first run].")] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Measure what of runs holds beyond the data they were trained on (--data), and what changed in them.

    Of verdicts and of a linear probe on the features they rest on: video AUC at home and elsewhere, and the
    gap between. Of the features: how alike they are to those of reference runs (linear CKA). Run again it
    goes on where it stopped. The table is also written to recipes/ in the workspace, as JSON and CSV.

    Examples:
      mmidd recipe regularisation lnclip-paper ltdd-base ltdd-paper ltdd-rl-paper --test-data dfdc/shards
      mmidd recipe regularisation ltdd-paper ltdd-rl-paper --reference lnclip-paper --reference ltdd-base
    """
    home = open_workspace(workspace, create=data is not None)

    from mmidd.recipes.regularisation import Data, measure_regularisation

    found = [find_run(home, run) for run in runs]
    references = [find_run(home, run) for run in reference or ()] or found[:1]
    result = measure_regularisation(
        found,
        references,
        Data(data or home.shards_dir, test_data or ()),
        best_device(),
        frames,
        lambda text: say(text, quiet=as_json),
    )
    files = result.write(home.root / "recipes", f"regularisation-{name or found[0].name}")
    if as_json:
        emit(result.document())
        return
    out.print(result.table())
    say(f"written: {', '.join(map(str, files))}")


def _counts(images: str) -> list[int]:
    try:
        counts = [int(count) for count in images.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UsageError(f"--images {images!r} is not a list of numbers; write --images 50,100,200,500")
    return counts


def _done(trial: Trial, shards: Path | str, tests: Sequence[Path | str], quiet: bool) -> Row:
    """The row of a run, trained and evaluated as far as that is still to do."""
    from mmidd.evaluation.evaluate import dataset_name
    from mmidd.recipes.efficiency_table import Row
    from mmidd.recipes.results import evaluation_of

    trained = run_training(trial.config, shards, trial.run_dir, trial.is_begun, quiet)
    say(summary(trained), quiet=quiet)
    if trained.interrupted:
        say("stopped; run the same command again to go on", quiet=quiet)
        raise typer.Exit(130)
    say(f"score {trial.run_dir.name}", quiet=quiet)
    found = {dataset_name(test): evaluation_of(trial.run_dir, test, best_device()) for test in tests}
    return Row(
        images=trial.images,
        run=trial.run_dir.name,
        validation=trained.video_auc,
        auc={test: evaluation.headline.metrics["auc"] for test, evaluation in found.items()},
    )
