"""`mmidd models`: files of detectors that no package brings along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mmidd.cli.console import emit, out, say
from mmidd.cli.options import AsJson
from mmidd.models import KNOWN, Known, Model, add_model, fetch_model, installed, models_dir

app = typer.Typer(
    no_args_is_help=True,
    help="List, add or download model files.\n\nExample: [b]mmidd models add yunet yunet_n_640_640.onnx[/b]",
    rich_markup_mode="rich",
)

Name = Annotated[str, typer.Argument(help="Name of a model, see `mmidd models list`.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the known models and which of them are here.

    Example:
      mmidd models list
    """
    rows = [_row(known, installed(known.name)) for known in KNOWN.values()]
    if as_json:
        emit(rows)
        return
    table = Table("name", "what", "licence", title=f"models in {models_dir()}", title_justify="left")
    table.add_column("here", no_wrap=True)
    for row in rows:
        here = "\n".join(f"{name} {sha[:12]}" for name, sha in row["files"].items())
        table.add_row(row["name"], row["about"], row["licence"], here or f"mmidd models fetch {row['name']}")
    out.print(table)


@app.command()
def add(
    name: Name,
    path: Annotated[Path, typer.Argument(help="File, unpacked folder or zip archive.")],
    link: Annotated[bool, typer.Option("--link", help="Link instead of copying.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a file you have into the registry and record its SHA-256.

    Examples:
      mmidd models add retinaface mobilenet0.25_Final.pth
      mmidd models add insightface ~/.insightface/models/buffalo_l --link
    """
    _show(add_model(name, path, link=link), as_json)


@app.command()
def fetch(name: Name, as_json: AsJson = False) -> None:
    """Download a known model and check its SHA-256.

    Example:
      mmidd models fetch insightface
    """
    if name in KNOWN:
        say(f"{KNOWN[name].url} (licence: {KNOWN[name].licence})", quiet=as_json)
    _show(fetch_model(name), as_json)


def _row(known: Known, model: Model | None) -> dict[str, Any]:
    return {
        "name": known.name,
        "about": known.about,
        "licence": known.licence,
        "url": known.url,
        "folder": str(model.folder) if model else None,
        "files": model.files if model else {},
    }


def _show(model: Model, as_json: bool) -> None:
    if as_json:
        emit({"name": model.name, "folder": str(model.folder), "files": model.files})
        return
    for name, sha in model.files.items():
        say(f"{model.folder / name}  sha256 {sha}")
