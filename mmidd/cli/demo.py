"""`mmidd demo`: the main job from raw folders to a verdict, on a small world built on the spot."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from mmidd.cli.console import err, say
from mmidd.errors import MmiddError, UsageError

MARKER = ".mmidd-demo"
TRAINING = (
    "ff++",
    "df40",
    "dff",
    "dffd",
    "dfdcp",
    "kodf",
    "timit",
    "celeba",
    "celeba-hq",
    "celebv-hq",
    "ffhq",
)
EVALUATION = (
    "celebdf-v1",
    "celebdf-v2",
    "dfd",
    "dfdc",
    "uadfv",
    "wilddeepfake",
    "df40-test",
    "genimage",
)


class DemoFailed(MmiddError):
    """One of the demo's commands failed; its own message is above."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo; one it made before is replaced.")] = Path(
        "mmidd-demo"
    ),
    portraits: Annotated[
        Path | None, typer.Option(help="Folder of face photos to use instead of those in installed packages.")
    ] = None,
    clips: Annotated[int, typer.Option(help="Videos to build, about.")] = 180,
    seconds: Annotated[float, typer.Option(help="Mean length of a video.")] = 2.0,
    frames: Annotated[int, typer.Option(help="Frames per video to use.")] = 8,
    world_only: Annotated[bool, typer.Option("--world-only", help="Only build the raw folders.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the world.")] = 0,
) -> None:
    """Build raw folders in official layouts, then run every command on them to the end.

    The world holds a small tree of every source, in the layout that it unpacks to. The videos are
    portraits under a moving virtual camera, the fakes four classical forgeries. The numbers show that
    the machinery works; they say nothing about real forgeries.

    Examples:
      mmidd demo
      mmidd demo --portraits ~/faces --clips 300
    """
    raw, workspace = out / "raw", out / "workspace"
    _clear(out)
    _build(raw, portraits, clips, seconds, seed)
    if world_only:
        return
    for command in _commands(raw, workspace, frames):
        _run(command)
    fake = sorted((raw / "ff++" / "manipulated_sequences" / "Deepfakes" / "c23" / "videos").glob("*.mp4"))[-1]
    _run(["detect", str(fake), "--run", "sd2-tiny", "-w", str(workspace)])


def _clear(out: Path) -> None:
    if out.exists() and not (out / MARKER).exists():
        raise UsageError(f"{out} exists and is not a demo; name another folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARKER).touch()


def _build(raw: Path, portraits: Path | None, clips: int, seconds: float, seed: int) -> None:
    from mmidd.demo.world import build_world

    say(f"[bold]building the demo world in {raw}[/bold]")
    with Progress(console=err) as bar:
        task = bar.add_task("scenes", total=None)
        world = build_world(
            raw,
            portraits,
            seed=seed,
            clips=clips,
            seconds=seconds,
            workers=os.cpu_count() or 1,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for tree in sorted({tree for tree, _ in world.files}):
        made = sorted((kind, count) for (name, kind), count in world.files.items() if name == tree)
        say(f"  {tree}: {', '.join(f'{count} {kind}' for kind, count in made)}")
    for reason, count in sorted(world.skipped.items()):
        say(f"  {count} portraits not used: {reason}")
    for note in world.notes:
        say(f"  {note}")


def _commands(raw: Path, workspace: Path, frames: int) -> list[list[str]]:
    home = ["-w", str(workspace)]
    return [
        ["ingest", "ff++", str(raw / "ff++"), "--check"],
        *([*line, *home] for line in _ingests(raw, frames)),
        ["audit", *home],
        ["caption", "--vlm", "measured", *home],
        ["simulate", *home],
        ["shard", "--target-size", "8", *home],
        ["verify", "--full", *home],
        ["status", *home],
        ["train", "lnclip", "--preset", "tiny", "--set", "epochs=8", *home],
        ["train", "sd2", "--preset", "tiny", "--set", "epochs=8", *home],
        ["eval", "lnclip-tiny", *home],
        ["eval", "sd2-tiny", *home],
    ]


def _ingests(raw: Path, frames: int) -> list[list[str]]:
    """One line per tree of the world; the first pins the number of frames."""
    lists = {
        "df40": ["--annotations", str(raw / "ff++")],
        "df40-test": ["--annotations", str(raw / "ff++")],
        "celeba-hq": ["--annotations", str(raw / "celeba")],
    }
    first = ["ingest", "ff++", str(raw / "ff++"), "--frames", str(frames)]
    keys = [key for key in (*TRAINING, *EVALUATION) if key != "ff++"]
    sources = [["ingest", key, str(raw / key), *lists.get(key, [])] for key in keys]
    own = [["ingest", "folder", str(raw / name)] for name in ("folder", "folder-stills")]
    return [first, *sources, *own]


def _run(arguments: list[str]) -> None:
    say(f"\n[bold cyan]$ mmidd {shlex.join(arguments)}[/bold cyan]")
    done = subprocess.run([sys.executable, "-m", "mmidd.cli.main", *arguments], check=False)
    if done.returncode:
        raise DemoFailed(f"mmidd {arguments[0]} ended with code {done.returncode}; see its message above")
