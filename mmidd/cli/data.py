"""The verbs ingest and simulate; status and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mmidd.cli import options as opt
from mmidd.cli.console import emit, finish, open_workspace, out, reporter, say
from mmidd.cli.views import check_table, status_tables
from mmidd.engine import EngineOptions, run_stage
from mmidd.engine.cluster import LOCAL, address
from mmidd.errors import DataError, TooManyFailures, UsageError
from mmidd.ingest.base import ReadOptions, find_reader
from mmidd.schema import ForgeryType


def engine_options(
    workers: int | None,
    time_limit: float,
    retry_failed: bool,
    max_failed: float,
    commit_every: float = 30.0,
    *,
    engine: Literal["local", "ray"],
    as_json: bool,
) -> EngineOptions:
    """How a stage runs, as its options say; a cluster is named."""
    if engine == "ray":
        where = "a cluster of this machine alone" if address() == LOCAL else f"the cluster at {address()}"
        say(f"engine ray on {where} (RAY_ADDRESS)", quiet=as_json)
    return EngineOptions(
        engine=engine,
        workers=workers,
        time_limit=time_limit,
        retry_failed=retry_failed,
        max_failed=max_failed,
        flush_seconds=commit_every,
    )


def _types(given: list[str] | None) -> dict[str, ForgeryType]:
    fakes = {kind.value: kind for kind in ForgeryType if kind is not ForgeryType.REAL}
    parsed = {method: kind for method, _, kind in (text.rpartition("=") for text in given or ())}
    for method, kind in parsed.items():
        if not method or kind not in fakes:
            raise UsageError(f"--type {method}={kind} is not METHOD=TYPE with TYPE one of {', '.join(fakes)}")
    return {method: fakes[kind] for method, kind in parsed.items()}


def ingest(
    source: Annotated[str, typer.Argument(help="Key or alias of the source, see `mmidd sources`.")],
    root: Annotated[Path, typer.Argument(help="Folder that the source was unpacked into.")],
    workspace: opt.Workspace = None,
    compression: Annotated[
        list[str] | None, typer.Option(help="Quality level to read, may be repeated (default: all found).")
    ] = None,
    limit_videos: Annotated[int | None, typer.Option(min=1, help="At most so many files per method.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of the annotation files.")] = None,
    derive_splits: Annotated[
        bool, typer.Option(help="Make identity-disjoint splits if none are given.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of derived splits.")] = 0,
    config: Annotated[Path | None, typer.Option(help="YAML description, for source `folder`.")] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="METHOD=TYPE", help="Type of a method, FS, FR, EFS or FE; repeatable."
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare expected with found.")] = False,
    detector: Annotated[
        str | None, typer.Option(help="dlib (default), yunet, retinaface, insightface or auto.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Frames per video, uniform (default: 32).")] = None,
    margin: Annotated[float | None, typer.Option(help="Crop side over face box side (default: 1.3).")] = None,
    size: Annotated[int | None, typer.Option(help="Crop side in pixels (default: 256).")] = None,
    align: Annotated[
        bool | None, typer.Option("--align/--no-align", help="Align by landmarks (default: no).")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="jpeg, png or webp (default: jpeg).")] = None,
    quality: Annotated[int | None, typer.Option(help="JPEG quality (default: 95).")] = None,
    engine: opt.Engine = "local",
    workers: opt.Workers = None,
    time_limit: opt.TimeLimit = 600.0,
    retry_failed: opt.RetryFailed = False,
    max_failed: opt.MaxFailed = 0.05,
    commit_every: Annotated[
        float, typer.Option(min=0.01, help="Commit at least every so many seconds.")
    ] = 30.0,
    as_json: opt.AsJson = False,
) -> None:
    """Turn a source's media into face crops with labels.

    The first ingest pins the preprocessing (frames, margin, size, ...) in the workspace; later ones
    take it over. Stop it at any time and run the same line again: nothing is done twice.

    Examples:
      mmidd ingest ff++ ./raw --check
      mmidd ingest ff++ ./raw --compression c23 --frames 32
      mmidd ingest folder ./mine --config mine.yaml --limit-videos 10
      mmidd ingest dff ./DeepFakeFace --type inpainting=FE
      RAY_ADDRESS=10.0.0.1:6379 mmidd ingest ff++ ./raw --engine ray
    """
    from mmidd.ingest import stage
    from mmidd.ingest.check import check as compare
    from mmidd.ingest.pin import pin_source
    from mmidd.preprocess.detectors.base import choose_detector, make_detector

    said = ReadOptions(
        tuple(compression or ()), limit_videos, annotations, derive_splits, config, seed, _types(types)
    )
    reader = find_reader(source)(root, said)
    if check:
        report = compare(reader)
        emit(report.as_json()) if as_json else out.print(check_table(report))
        if not report.complete:
            raise TooManyFailures(
                f"{reader.source} is incomplete; obtain the missing files, or ingest what is there"
            )
        return
    named = {
        "detector": detector,
        "frames": frames,
        "margin": margin,
        "size": size,
        "align": align,
        "encoding": encoding,
        "quality": quality,
    }
    asked = {key: value for key, value in named.items() if value is not None}
    if detector is not None:
        asked["detector"] = make_detector(choose_detector(detector)).name
    home = open_workspace(workspace, create=True)
    spec = home.pin(asked)
    finder = make_detector(spec.detector)
    total = sum(1 for _ in stage.sampled(reader.listed(), spec.frames))
    values = {**spec.model_dump(), "detector": f"{finder.name} ({finder.version})"}
    chosen = ", ".join(f"{k} {v}" for k, v in values.items())
    say(f"{reader.source} at {reader.root}: {total:,} files; {chosen}; workspace {home.root}", quiet=as_json)
    settings = engine_options(
        workers, time_limit, retry_failed, max_failed, commit_every, engine=engine, as_json=as_json
    )
    table = stage.ledger(home, reader.source)
    pin_source(table.root, reader.source, said)
    summary = run_stage(
        stage.stage(reader.source),
        table,
        stage.units(reader, spec),
        settings,
        reporter(as_json),
        total,
    )
    finish(summary, settings, as_json)


def simulate(
    workspace: opt.Workspace = None,
    recipe: Annotated[str, typer.Option(help="sbi, regional, regional-alpha or regional-poisson.")] = "sbi",
    per_real: Annotated[int, typer.Option(min=1, help="Forgeries per real sample.")] = 1,
    where: Annotated[
        str | None, typer.Option(help="SQL condition on the columns of the real training samples.")
    ] = None,
    preview: Annotated[int | None, typer.Option(min=1, help="Only draw a contact sheet of so many.")] = None,
    seed: opt.Seed = 0,
    engine: opt.Engine = "local",
    workers: opt.Workers = None,
    time_limit: opt.TimeLimit = 60.0,
    retry_failed: opt.RetryFailed = False,
    max_failed: opt.MaxFailed = 0.05,
    as_json: opt.AsJson = False,
) -> None:
    """Blend every real training face into itself: forgeries with masks and dialogue.

    Recipe `sbi` forges the whole face, `regional` one to three named regions of it, softly
    or by Poisson's equation. Look at a few with --preview first.

    Examples:
      mmidd simulate --preview 6
      mmidd simulate --recipe sbi --per-real 2
      mmidd simulate --recipe regional --where "source = 'ffhq'"
      RAY_ADDRESS=10.0.0.1:6379 mmidd simulate --engine ray
    """
    from mmidd.preprocess import simulation
    from mmidd.preprocess.simulate import check_recipe

    name = check_recipe(recipe)
    home = open_workspace(workspace)
    reals = simulation.real_samples(home, where)
    if preview:
        path = simulation.preview(home, reals, name, preview, seed)
        emit({"sheet": str(path)}) if as_json else say(f"contact sheet: {path}")
        return
    settings = engine_options(workers, time_limit, retry_failed, max_failed, engine=engine, as_json=as_json)
    summary = run_stage(
        simulation.stage(name),
        simulation.ledger(home, name),
        simulation.units(home, reals, name, per_real, seed),
        settings,
        reporter(as_json),
        reals.height * per_real,
    )
    finish(summary, settings, as_json)


def status(workspace: opt.Workspace = None, as_json: opt.AsJson = False) -> None:
    """Show what the workspace holds: samples by source and type, captions, shards, runs.

    Example:
      mmidd status
    """
    from mmidd.cli.views import status_data

    data = status_data(open_workspace(workspace))
    if as_json:
        emit(data)
        return
    for table in status_tables(data):
        out.print(table)


def verify(
    workspace: opt.Workspace = None,
    full: Annotated[
        bool, typer.Option("--full", help="Also hash every byte and decode every image.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Check that every byte the tables name is there, and nothing else; the same for the shards.

    Example:
      mmidd verify --full
    """
    from mmidd.verify import verify_workspace

    problems = verify_workspace(open_workspace(workspace), full)
    if as_json:
        emit([vars(problem) for problem in problems])
    for problem in problems if not as_json else []:
        say(f"[red]{problem.reason}[/red] {problem.where} {problem.detail}")
    if problems:
        raise DataError("damaged", f"{len(problems)} problems; ingest or shard again what is named above")
    say("everything is in order", quiet=as_json)
