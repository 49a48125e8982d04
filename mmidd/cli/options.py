"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Workspace = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", envvar="MMIDD_WORKSPACE", help="Folder of all results [./mmidd-data]."),
]
Data = Annotated[
    str | None, typer.Option("--data", help="Folder of shards or URL, as s3://... (default: workspace's).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Processes here, or actors on the Ray cluster that RAY_ADDRESS names."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes or actors (default: all cores, of all nodes)."),
]
TimeLimit = Annotated[
    float,
    typer.Option("--time-limit", min=0.1, help="Seconds per file or sample before its worker is killed."),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Do the failed ones again.")]
MaxFailed = Annotated[
    float,
    typer.Option("--max-failed", min=0, max=1, help="Share of failures above which the exit code is 4."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of every random choice.")]
