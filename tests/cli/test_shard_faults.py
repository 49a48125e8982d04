"""`mmidd shard` by the command: killed, on a full disk, on damaged packs and rows."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from mmidd.shards.blobs import Packs
from mmidd.shards.select import select
from mmidd.shards.staging import staging_folder
from mmidd.shards.writer import write_shards
from mmidd.workspace import Workspace
from tests.audit.audit_world import build, row
from tests.cli.command import as_json, error_line, mmidd


def make(root: Path, count: int = 4, size: int = 0) -> Workspace:
    """Faces of a family each; of `size` bytes that are no image, or small pictures."""
    spec_id = Workspace.open(root, create=True).pin({"frames": 4, "size": 32}).spec_id
    rows = [
        row(f"r{number}", source="ab"[number == 1], encoding="jpeg", spec_id=spec_id)
        for number in range(count)
    ]
    return build(root, *rows, blobs={one["src_path"]: os.urandom(size) for one in rows if size})


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def killed(workspace: Workspace, staged: int, *arguments: str) -> int:
    """Run the command and SIGKILL it when so many shards are staged; gives how many there are then."""
    command = [sys.executable, "-m", "mmidd.cli.main", "shard", "-w", str(workspace.root), *arguments]
    stage = staging_folder(workspace.shards_dir)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(list(stage.glob("*.json"))) < staged and process.poll() is None:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return len(list(stage.glob("*.json")))


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    workspace = make(tmp_path / "ws", count=60, size=250_000)
    options = ("--target-size", "1", "--workers", "2")
    finished = killed(workspace, 3, *options)
    assert not workspace.shards_dir.exists()
    summary = as_json("shard", *options, "-w", workspace.root)
    assert finished <= summary["kept"] < summary["shards"]
    assert not staging_folder(workspace.shards_dir).exists()
    chosen = select(workspace)
    fresh = tmp_path / "fresh"
    write_shards(chosen.rows, Packs(workspace.root), fresh, spec=workspace.spec, target_bytes=1 << 20)
    assert contents(workspace.shards_dir) == contents(fresh)


def test_the_summary_says_what_was_written_and_what_was_kept(tmp_path: Path) -> None:
    workspace = make(tmp_path / "ws")
    for written, kept in (1, 0), (0, 1):
        cells = mmidd("shard", "-w", workspace.root).stdout.replace("│", " ")
        assert re.search(rf"shards written now +{written} +\n", cells)
        assert re.search(rf"shards kept +{kept} +\n", cells)
        assert re.search(r"samples train +4 +\n", cells)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    workspace = make(tmp_path / "ws", count=8, size=100_000)
    done = mmidd(
        "shard",
        "-w",
        workspace.root,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    assert "the disk is full" in error_line(done, 3)
    assert not workspace.shards_dir.exists()
    assert as_json("shard", "-w", workspace.root)["samples"] == {"train": 8}


@pytest.mark.parametrize(("damage", "reason"), [("truncate", "pack_truncated"), ("unlink", "pack_missing")])
def test_rows_of_a_damaged_pack_are_counted_and_named(tmp_path: Path, damage: str, reason: str) -> None:
    workspace = make(tmp_path / "ws")
    first = workspace.samples().filter(source="b").collect().row(0, named=True)
    pack = workspace.root / first["table"] / "packs" / first["pack"]
    pack.unlink() if damage == "unlink" else pack.write_bytes(pack.read_bytes()[:700])
    done = mmidd("shard", "-w", workspace.root)
    assert "mmidd verify" in error_line(done, 4)
    assert f"left out: {reason}" in done.stdout
    named = pl.read_parquet(workspace.shards_dir / "rejected.parquet")
    assert named.select("sample_id", "reason").rows() == [(first["sample_id"], reason)]
    summary = as_json("shard", "--max-failed", "0.5", "-w", workspace.root)
    assert (summary["rejected"], summary["samples"]) == ({reason: 1}, {"train": 3})


def test_keys_with_dots_and_keys_that_come_twice_are_left_out(tmp_path: Path) -> None:
    spec_id = Workspace.open(tmp_path / "ws", create=True).pin({"frames": 4, "size": 32}).spec_id
    shared = {"encoding": "jpeg", "spec_id": spec_id}
    rows = [row(f"r{number}", **shared) for number in range(3)]
    workspace = build(
        tmp_path / "ws",
        *rows,
        row("dots", **shared, sample_id="a.b"),
        row("twice", **shared) | {"sample_id": rows[0]["sample_id"]},
    )
    summary = as_json("shard", "--max-failed", "1", "-w", workspace.root)
    assert summary["rejected"] == {"bad_key": 1, "duplicate_key": 2}
    assert summary["samples"] == {"train": 2}
    assert as_json("verify", "--full", "-w", workspace.root) == []
