"""`mmidd sources`: what the readers declare about themselves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from mmidd.cli.console import emit, out
from mmidd.cli.options import AsJson
from mmidd.ingest.base import find_reader, load_readers

_ROLES = ("train", "eval", "own")

app = typer.Typer(
    invoke_without_command=True,
    help="List the sources that can be ingested.\n\nExample: [b]mmidd sources show ff++[/b]",
    rich_markup_mode="rich",
)


@app.callback()
def sources(context: typer.Context, as_json: AsJson = False) -> None:
    """List the sources: those to train on, those to evaluate on, your own data."""
    if context.invoked_subcommand:
        return
    readers = dict.fromkeys(load_readers().values())
    infos = sorted((reader.info for reader in readers), key=lambda info: (_ROLES.index(info.role), info.key))
    if as_json:
        emit([asdict(info) for info in infos])
        return
    table = Table("key", "role", "types", "media", "size", "licence", title="sources", title_justify="left")
    for info in infos:
        table.add_row(info.key, info.role, info.types, info.media, info.size, info.licence)
    out.print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Key or alias of a source.")], as_json: AsJson = False
) -> None:
    """Show a source's expected tree, annotations, split rule and terms."""
    info = find_reader(name).info
    if as_json:
        emit(asdict(info))
        return
    table = Table(show_header=False, title=info.title, title_justify="left")
    for key, value in asdict(info).items():
        table.add_row(key, escape("\n".join(value) if isinstance(value, tuple) else value))
    out.print(table)
