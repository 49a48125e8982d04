"""`mmidd runs`: detectors that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mmidd.cli import options as opt
from mmidd.cli.console import emit, open_workspace, say

CROPS = (
    "GenD's own are made by its RetinaFace at margin 1.3, aligned, at the size they have in the frame and "
    "black beyond it; scores differ from the published ones by what yours differ"
)

app = typer.Typer(
    no_args_is_help=True,
    help="Take in a detector that was trained elsewhere.\n\nExample: [b]mmidd runs import GenD_CLIP_L_14[/b]",
    rich_markup_mode="rich",
)


@app.callback()
def _group() -> None:
    """Keeps `import` a verb of its own."""


@app.command("import")
def import_run(
    folder: Annotated[Path, typer.Argument(help="Checkpoint as GenD publishes it.")],
    workspace: opt.Workspace = None,
    name: Annotated[str | None, typer.Option(help="Name of the run [that of the folder].")] = None,
    crops: Annotated[
        Literal["gend", "workspace"],
        typer.Option(help="Crops that it is shown: nearest to GenD's own, or those of the workspace."),
    ] = "gend",
    as_json: opt.AsJson = False,
) -> None:
    """Make a run of a published GenD checkpoint, for `eval` and `detect`.

    Nothing is downloaded. The frozen weights stay in the folder, which must remain where it is.

    Examples:
      mmidd runs import GenD_CLIP_L_14 --name gend
      mmidd runs import GenD_CLIP_L_14 --crops workspace
    """
    home = open_workspace(workspace, create=crops == "gend")

    from mmidd.training.gend import SPEC, import_gend

    run_dir = home.runs_dir / (name or folder.resolve().name)
    spec = SPEC if crops == "gend" else home.spec
    import_gend(folder, run_dir, spec)
    if as_json:
        emit({"run": str(run_dir), "spec": spec.model_dump()})
        return
    cut = f"{spec.detector}, margin {spec.margin}, {spec.size} px, {'' if spec.align else 'not '}aligned"
    say(f"{run_dir}: its crops are made by {cut}")
    say(CROPS)
