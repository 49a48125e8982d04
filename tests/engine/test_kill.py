"""SIGKILL at random moments loses nothing, doubles nothing and orphans nothing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import simplejpeg

from mmidd.schema import PLACEMENT_COLUMNS
from mmidd.verify import verify_workspace
from mmidd.workspace import Workspace

KILLS = 20
UNITS = 600
DESCRIPTION = """
name: kill-me
media: precropped_image
rules:
  - {glob: "*.jpg", label: real}
  - {glob: "*.jpeg", label: fake, type: FE}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    (folder / "dataset.yaml").write_text(DESCRIPTION)
    noise = np.random.default_rng(0)
    for number in range(UNITS):
        pixels = noise.integers(0, 255, (192, 192, 3), dtype=np.uint8)
        suffix = "jpg" if number % 3 else "jpeg"
        (folder / f"{number:04d}.{suffix}").write_bytes(simplejpeg.encode_jpeg(pixels))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no jpeg")
    return folder


def command(root: Path, workspace: Path) -> list[str]:
    run = [sys.executable, "-m", "mmidd.cli.main", "ingest", "folder", str(root), "-w", str(workspace)]
    return [*run, "--json", "--commit-every", "0.05", "--workers", "1"]


def content(workspace: Path) -> pl.DataFrame:
    rows = Workspace.open(workspace).tables()["samples/kill-me"].scan().collect()
    return rows.drop(*PLACEMENT_COLUMNS & set(rows.columns)).sort("unit_id", "frame_index")


@pytest.mark.timeout(900)
def test_kills_at_random_moments_change_nothing(root: Path, tmp_path: Path) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    started = time.monotonic()
    subprocess.run(command(root, calm), check=True, stdout=subprocess.DEVNULL)
    undisturbed = time.monotonic() - started
    moments = random.Random(7)
    at_work: list[bool] = []
    while len(at_work) < KILLS:
        process = subprocess.Popen(command(root, rough), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moments.uniform(0.1, 0.9) * undisturbed)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            at_work.append(0 < done(rough) < UNITS + 1)
        else:
            forget_most(rough)
    subprocess.run(command(root, rough), check=True, stdout=subprocess.DEVNULL)
    assert sum(at_work) > KILLS / 4, "many kills must hit a stage at work"
    assert content(rough).equals(content(calm))
    assert content(calm).height == UNITS + 1
    assert verify_workspace(Workspace.open(rough), full=True) == []
    assert bytes_in_packs(rough) == bytes_in_packs(calm)


def done(workspace: Path) -> int:
    table = Workspace.open(workspace).tables().get("samples/kill-me")
    return 0 if table is None else table.scan().select("unit_id").collect().n_unique()


def forget_most(workspace: Path) -> None:
    """Take parts away, as if their units had never run, so that there is work left to kill."""
    table = Workspace.open(workspace).tables()["samples/kill-me"]
    for part in table.parts[1:]:
        part.unlink()


def bytes_in_packs(workspace: Path) -> int:
    total = 0
    for pack in Workspace.open(workspace).tables()["samples/kill-me"].packs:
        with tarfile.open(pack) as tar:
            total += sum(member.size for member in tar)
    return total
