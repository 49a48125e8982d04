"""What commands share for talking to a person or to a machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from mmidd.engine.progress import Bar, Silent, summary_table
from mmidd.engine.stage import EngineOptions, Reporter, Summary
from mmidd.errors import UsageError
from mmidd.workspace import DEFAULT_ROOT, Workspace

out = Console()
err = Console(stderr=True)


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line for people; nothing with --json."""
    if not quiet:
        out.print(text, highlight=False, soft_wrap=True)


def emit(value: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def reporter(as_json: bool) -> Reporter:
    """The progress display of a stage."""
    return Silent() if as_json else Bar(err)


def finish(summary: Summary, options: EngineOptions, as_json: bool) -> None:
    """Print a stage's summary and fail when too much of it failed."""
    if as_json:
        emit(summary.as_json())
    else:
        out.print(summary_table(summary))
    summary.check(options.max_failed)


def open_workspace(root: Path | None, *, create: bool = False) -> Workspace:
    """The workspace named by --workspace or MMIDD_WORKSPACE, else ./mmidd-data."""
    return Workspace.open(root or Path(DEFAULT_ROOT), create=create)


def find_run(workspace: Workspace, name: str | None, method: str | None = None) -> Path:
    """The folder of a run given by name or path, or of the only one there is, or is of a method.

    Raises:
        UsageError: there is no such run, or no name was given and there are several.
    """
    if name is None:
        runs = sorted(p.name for p in workspace.runs_dir.glob("*") if _is_run(p, method))
        if len(runs) != 1:
            known = (
                f"there are {len(runs)}: {', '.join(runs)}"
                if runs
                else f"there is none; run `mmidd train{f' {method}' if method else ''}` first"
            )
            raise UsageError(f"name a run with --run; {known}")
        return workspace.runs_dir / runs[0]
    for folder in (workspace.runs_dir / name, Path(name)):
        if _is_run(folder, None):
            return folder
    raise UsageError(f"no run {name!r} in {workspace.runs_dir}; `mmidd status` lists the runs")


def run_folder(workspace: Path | None, name: str | None, method: str | None = None) -> Path:
    """As `find_run`; a run that is named by its folder needs no workspace.

    Raises:
        UsageError: see `open_workspace` and `find_run`.
    """
    if name and _is_run(Path(name), None):
        return Path(name)
    return find_run(open_workspace(workspace), name, method)


def best_device() -> str:
    """A GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _is_run(folder: Path, method: str | None) -> bool:
    from mmidd.training.config import method_of

    return (folder / "config.yaml").is_file() and method in {None, method_of(folder)}
