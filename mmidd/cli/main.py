"""The `mmidd` command: every verb parses, calls the library and prints."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated

import typer
from rich.text import Text

from mmidd import __version__
from mmidd.cli import audit, caption, chat, data, demo, detector, models, recipe, runs, shard, sources, train
from mmidd.cli.console import err
from mmidd.errors import MmiddError

app = typer.Typer(
    name="mmidd",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
    help="From scattered deepfake datasets to one audited knowledge space, and the detectors trained on it.",
    epilog="In order: [b]ingest[/b] → [b]audit[/b] → [b]caption[/b] → [b]simulate[/b] → [b]shard[/b] → "
    "[b]train[/b] → [b]eval[/b] → [b]detect[/b] → [b]chat[/b]. Everything lands in ./mmidd-data, or where "
    "--workspace or MMIDD_WORKSPACE says. Try it all on synthetic data: [b]mmidd demo[/b].",
)
app.add_typer(sources.app, name="sources")
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")
app.add_typer(recipe.app, name="recipe")
app.command()(data.ingest)
app.command()(audit.audit)
app.command()(caption.caption)
app.command()(data.simulate)
app.command()(shard.shard)
app.command()(train.train)
app.command("eval")(detector.evaluate)
app.command()(detector.detect)
app.command()(chat.chat)
app.command()(data.status)
app.command()(data.verify)
app.command()(demo.demo)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mmidd {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing to do before the verbs."""


def main() -> None:
    """Run the command line; errors are one line on standard error and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except MmiddError as error:
        err.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("[yellow]stopped[/yellow]; run the same command again to go on")
        sys.exit(130)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
