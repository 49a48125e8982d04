"""The verb `shard`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mmidd.cli import options as opt
from mmidd.cli.console import emit, open_workspace, out, say
from mmidd.cli.data import engine_options
from mmidd.errors import TooManyFailures


def shard(
    workspace: opt.Workspace = None,
    where: Annotated[
        str | None,
        typer.Option(help="SQL condition on the columns of samples, simulations and captions."),
    ] = None,
    target_size: Annotated[int, typer.Option(min=1, help="Upper mark of the mean shard size, in MB.")] = 256,
    train_on_eval: Annotated[
        bool, typer.Option("--train-on-eval", help="Keep train and val of evaluation sources, too.")
    ] = False,
    packs: Annotated[
        str | None,
        typer.Option(help="URL or folder that the packs were moved to, laid out as the workspace."),
    ] = None,
    publish: Annotated[
        str | None, typer.Option(help="URL or folder to copy the finished shards to, what changed alone.")
    ] = None,
    seed: opt.Seed = 0,
    engine: opt.Engine = "local",
    workers: opt.Workers = None,
    time_limit: Annotated[
        float, typer.Option(min=0.1, help="Seconds per shard before its worker is killed.")
    ] = 3600.0,
    max_failed: opt.MaxFailed = 0.05,
    as_json: opt.AsJson = False,
) -> None:
    """Write samples, captions and simulations into WebDataset shards, one set per split.

    Samples without a split are left out and counted. So is what evaluation sources (role eval in
    `mmidd sources`) call train and val, or a result on them would not be a cross-dataset one.
    Stop it at any time and run the same line again: a finished shard is not written twice, and one
    that is published already is kept if nothing in it would change.

    Examples:
      mmidd shard --target-size 512
      mmidd shard --train-on-eval
      mmidd shard --where "source IN ('ff++', 'ffhq') AND recipe IS NULL"
      RAY_ADDRESS=10.0.0.1:6379 mmidd shard --engine ray
      mmidd shard --publish s3://bucket/shards
    """
    from mmidd.cli.shard_view import ShardView, shard_table
    from mmidd.engine.lock import exclusive
    from mmidd.shards.blobs import Packs
    from mmidd.shards.remote_packs import RemotePacks
    from mmidd.shards.select import select
    from mmidd.shards.writer import write_shards
    from mmidd.storage import open_folder

    home = open_workspace(workspace)
    settings = engine_options(
        workers, time_limit, retry_failed=False, max_failed=max_failed, engine=engine, as_json=as_json
    )
    chosen = select(home, train_on_eval, where)
    say(chosen.describe(), quiet=as_json)
    started = time.monotonic()
    with exclusive(home.root / ".shards.lock"), ShardView(quiet=as_json) as view:
        summary = write_shards(
            chosen.rows,
            Packs(home.root.absolute()) if packs is None else RemotePacks(open_folder(packs)),
            home.shards_dir,
            spec=home.spec,
            seed=seed,
            target_bytes=target_size * 2**20,
            options=settings,
            left_out=chosen.left_out,
            on_progress=view,
        )
    if not as_json:
        out.print(shard_table(summary, time.monotonic() - started))
    copied = _publish(home.shards_dir, publish, quiet=as_json)
    if as_json:
        counts = {name: getattr(chosen, name) for name in ("no_split", "kept_apart", "unmatched")}
        emit({**vars(summary), **counts, **copied})
    if summary.failed_share > max_failed:
        raise TooManyFailures(
            f"shard: {summary.failed_share:.1%} of the samples were left out; run `mmidd verify`"
        )


def _publish(shards: Path, where: str | None, *, quiet: bool) -> dict[str, Any]:
    """Copy the shards there, if asked for, and tell of it."""
    from mmidd.cli.shard_view import ShardView
    from mmidd.shards.publish import publish
    from mmidd.storage import open_folder

    if where is None:
        return {}
    with ShardView(quiet=quiet, doing="publish", what="bytes") as view:
        copied = publish(shards, open_folder(where), view)
    there = f"{copied.files:,} files; {copied.kept:,} shards were there"
    say(f"published to {copied.where}: {there}", quiet=quiet)
    return {"published": vars(copied)}
