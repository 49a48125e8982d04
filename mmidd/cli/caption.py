"""The verb that describes: caption."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer
from rich.table import Table

from mmidd.captioning.catalogue import Engine
from mmidd.cli import options as opt
from mmidd.cli.console import emit, finish, open_workspace, out, reporter, say
from mmidd.engine import EngineOptions, Summary, run_stage
from mmidd.errors import UsageError
from mmidd.workspace import Workspace

if TYPE_CHECKING:
    from mmidd.captioning.backends.endpoint import EndpointOptions
    from mmidd.captioning.run import Captions


_SHOWN = 12
"""Rows of a table of the audit in the terminal."""


def caption(
    workspace: opt.Workspace = None,
    vlm: Annotated[
        str, typer.Option(help="`measured` (no model), a name such as qwen2-vl, a hub id or a local folder.")
    ] = "measured",
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask this OpenAI-compatible server, http://HOST:8000/v1."),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="What runs the model in this process.")] = Engine.VLLM,
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help="Only samples for which this holds, \"source = 'ff++'\"."),
    ] = None,
    sample: Annotated[float, typer.Option(min=1e-9, max=1, help="Share of the samples, by hash.")] = 1.0,
    order: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="Sort by these, as in source,split.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of this set of captions (default: the model's).")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest words.")] = 0.0,
    seed: opt.Seed = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time, with --endpoint.")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="Samples at a time, without --endpoint.")] = 256,
    price: Annotated[
        float | None,
        typer.Option(min=0, help="Price of an hour of the machine, for the estimate of the cost."),
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Check the captions there are, and draw some to review.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(help="With --audit: another set, for their agreement.")
    ] = None,
    review: Annotated[int, typer.Option(min=1, help="With --audit: samples to review.")] = 200,
    record: Annotated[
        Path | None, typer.Option(metavar="JSON", help="With --audit: add the decisions of a review.")
    ] = None,
    workers: opt.Workers = None,
    time_limit: opt.TimeLimit = 300.0,
    retry_failed: opt.RetryFailed = False,
    max_failed: opt.MaxFailed = 0.05,
    as_json: opt.AsJson = False,
) -> None:
    """Describe every sample twice: the face, and its environment.

    A model answers in JSON that is checked: schema, length, no verdict such as "real" or "generated". What
    cannot be used is asked for once more. Stop it at any time and run the same line again: no answer that
    arrived is asked for twice. A server's key is read from MMIDD_API_KEY.

    Examples:
      mmidd caption --vlm measured
      mmidd caption --vlm qwen2-vl
      mmidd caption --vlm qwen2-vl-2b --endpoint http://127.0.0.1:8000/v1 --sample 0.01
      mmidd caption --vlm qwen2-vl --audit
    """
    from mmidd.captioning.select import Choice, choose

    home = open_workspace(workspace)
    if audit:
        backend = name or (vlm if vlm == "measured" else _captions(home, vlm, None, temperature, seed).name)
        _audit(home, backend, against, review, record, seed, as_json)
        return
    settings = EngineOptions(time_limit=time_limit, retry_failed=retry_failed, max_failed=max_failed)
    if workers is not None:
        settings = EngineOptions(**{**vars(settings), "workers": workers})
    columns = tuple(filter(None, map(str.strip, (order or "").split(","))))
    rows = choose(home, Choice(where, sample, columns))
    if vlm == "measured":
        summary = _measured(home, rows, settings, as_json)
    else:
        captions = _captions(home, vlm, name, temperature, seed)
        server = _server(endpoint, concurrency, time_limit)
        summary = _model(captions, rows, engine, server, batch, settings, as_json)
        if not as_json:
            say(_estimate(summary, home.samples().select(pl.len()).collect().item(), price))
    finish(summary, settings, as_json)


def _measured(home: Workspace, rows: pl.DataFrame, settings: EngineOptions, as_json: bool) -> Summary:
    from mmidd.captioning import stage

    say(f"backend {stage.NAME}; workspace {home.root}", quiet=as_json)
    work = stage.units(home, rows)
    return run_stage(stage.stage(), stage.ledger(home), work, settings, reporter(as_json), rows.height)


def _captions(home: Workspace, vlm: str, name: str | None, temperature: float, seed: int) -> Captions:
    from mmidd.captioning.backends.base import Sampling
    from mmidd.captioning.catalogue import resolve
    from mmidd.captioning.run import Captions, default_name

    checkpoint, sampling = resolve(vlm), Sampling(temperature, seed)
    return Captions(home, name or default_name(checkpoint, sampling), checkpoint, sampling)


def _server(url: str | None, concurrency: int, time_limit: float) -> EndpointOptions | None:
    from mmidd.captioning.backends.endpoint import EndpointOptions

    if url is None:
        return None
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--endpoint {url} is no address; give one such as http://127.0.0.1:8000/v1")
    return EndpointOptions(url, os.environ.get("MMIDD_API_KEY"), concurrency, time_limit=time_limit)


def _model(
    captions: Captions,
    rows: pl.DataFrame,
    engine: Engine,
    server: EndpointOptions | None,
    batch: int,
    settings: EngineOptions,
    as_json: bool,
) -> Summary:
    from mmidd.captioning.engines import start

    captions.pin()
    with captions.log() as log:
        ready = start(captions, log, engine, server, batch)
        kept = f"; {len(log):,} answers of a killed run are kept" if len(log) else ""
        say(f"{ready.about}; captions in {captions.folder}{kept}", quiet=as_json)
        units = captions.units(rows, ready.revision)
        stage, show = captions.stage(ready.pool), reporter(as_json)
        summary = run_stage(stage, captions.ledger(), units, settings, show, rows.height)
        log.clear()
    return summary


def _estimate(summary: Summary, samples: int, price: float | None) -> str:
    """What the whole workspace costs at the pace of this run."""
    if not summary.finished:
        return "nothing was left to caption"
    tokens = sum(summary.totals.values())
    hours = summary.seconds / summary.finished * samples / 3600
    cost = "" if price is None else f", {hours * price:,.2f} at {price:g} an hour"
    return (
        f"{summary.finished / summary.seconds:,.2f} samples/s, {tokens / summary.seconds:,.0f} tokens/s; all "
        f"{samples:,} samples of the workspace take {hours:,.2f} hours at this pace{cost}"
    )


def _audit(
    home: Workspace,
    backend: str,
    against: str | None,
    review: int,
    record: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    from mmidd.captioning.audit.decisions import record_decisions
    from mmidd.captioning.audit.run import audit_captions

    if record is not None:
        say(f"decisions: {record_decisions(home, backend, record)}", quiet=as_json)
    result = audit_captions(home, backend, against=against, sample=review, seed=seed)
    counts = result.summary()
    if as_json:
        tables = {title: table.to_dicts() for title, table in result.tables.items()}
        whole = {"captions": result.captions, "samples": result.samples, "counts": counts.to_dicts()}
        emit({**whole, "tables": tables, **result.paths})
        return
    out.print(_frame(f"{result.captions:,} captions of {result.samples:,} samples", counts))
    for title, table in result.tables.items():
        shown = table.filter(pl.col("reviewed") > 0) if "reviewed" in table.columns else table
        if shown.height:
            out.print(_frame(title, shown.drop("telling", strict=False).head(_SHOWN)))
    say("\n".join(f"{title}: {path}" for title, path in result.paths.items()))


def _frame(title: str, frame: pl.DataFrame) -> Table:
    table = Table(*frame.columns, title=title, title_justify="left")
    for row in frame.iter_rows():
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    return table
