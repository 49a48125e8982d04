"""The verb `chat`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mmidd.cli import options as opt
from mmidd.cli.console import best_device, err, out, run_folder, say
from mmidd.errors import UsageError

_LEAVE = {"exit", "quit"}


def chat(
    image: Annotated[Path, typer.Argument(help="Image with a face.")],
    workspace: opt.Workspace = None,
    run: Annotated[
        str | None, typer.Option(help="Name or folder of a run of kfd's stage llm (default: the only one).")
    ] = None,
    ask: Annotated[
        list[str] | None, typer.Option(help="Ask this and leave; may be given several times.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="JSON file of the dialogue [in the run's folder chats].")
    ] = None,
) -> None:
    """Question a detector about one face: is it a deepfake, where, why.

    Answers appear word by word, and later questions are understood in the context of earlier ones. An empty
    line, `exit` or Ctrl-D leaves. The dialogue is saved after every answer.

    Examples:
      mmidd chat photo.jpg --run kfd-llm-paper
      mmidd chat photo.jpg --ask "Is this a deepfake?" --ask "Where?"
    """
    run_dir = run_folder(workspace, run, "kfd-llm")

    from mmidd.detection.chat import open_chat

    device = best_device()
    talk = open_chat(image, run_dir, device)
    file = save or run_dir / "chats" / f"{image.stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    say(f"{image}: detector's P(fake) {talk.score:.3f}, P(yes) {talk.verdict:.3f}; answering on {device}")
    for question in ask if ask is not None else _asked():
        try:
            answer = talk.ask(question, _write)
        except UsageError as error:
            if ask is not None:
                raise
            err.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
            continue
        _write("\n" if answer.complete else " [cut for length]\n")
        talk.save(file)
    if talk.messages:
        say(f"saved: {file}")


def _asked() -> Iterator[str]:
    """Questions from the terminal or a pipe, up to an empty line."""
    return iter(_line, "")


def _line() -> str:
    try:
        line = out.input("[bold]you:[/] ").strip()
    except EOFError:
        return ""
    return "" if line.lower() in _LEAVE else line


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
