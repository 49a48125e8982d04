"""`mmidd caption` against the real engine: the demo's people, a killed client, then a killed server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mmidd.captioning.description import Description
from mmidd.demo.world import build_world
from tests.cli.command import as_json
from tests.vllm.server import ENVIRONMENT, EXECUTABLE, serving
from tests.vllm.tiny_qwen2vl import write_checkpoint

pytestmark = pytest.mark.skipif(
    not os.environ.get(EXECUTABLE), reason="needs the engine that `make test-vllm` installs"
)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny-qwen2-vl")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("captions")
    build_world(root / "raw", clips=48, seconds=0.1)
    as_json("ingest", "folder", root / "raw/folder-stills", "-w", root / "ws")
    return root / "ws"


def until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 240
    while not holds():
        assert process.poll() is None, "the command ended too soon"
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_demo_is_captioned_though_client_and_server_are_killed(checkpoint: Path, workspace: Path) -> None:
    log = workspace / "captions/tiny-qwen2-vl/answers.jsonl"

    def answers() -> int:
        return log.read_text().count('"key"') if log.exists() else 0

    def start(url: str) -> subprocess.Popen[bytes]:
        line = [
            "caption",
            "--vlm",
            str(checkpoint),
            "--endpoint",
            url,
            "-w",
            str(workspace),
            "--concurrency",
            "4",
        ]
        command = [sys.executable, "-m", "mmidd.cli.main", *line, "--max-failed", "1", "--json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    with serving(checkpoint) as server:
        client = start(server.url)
        until(lambda: answers() >= 3, client)
        os.kill(client.pid, signal.SIGKILL)
        client.communicate()
        kept = answers()
        client = start(server.url)
        until(lambda: answers() >= kept + 5, client)
        server.kill()
        time.sleep(1)
    with serving(checkpoint, server.port):
        summary = json.loads(client.communicate(timeout=400)[0])
    assert client.returncode == 0
    samples = sum(row["len"] for row in as_json("status", "-w", workspace)["samples"])
    assert summary["samples"] + summary["failed"] == samples
    # What a random model writes is noise: some of it is too long for CLIP, twice.
    assert set(summary["reasons"]) <= {"failed: too_long", "failed: verdict_word"}
    assert summary["samples"] > samples / 2
    assert summary["totals"]["prompt_tokens"] > 100 * samples
    rows = pl.concat(
        [pl.read_parquet(part) for part in (workspace / "captions/tiny-qwen2-vl/parts").glob("*.parquet")]
    )
    assert rows["sample_id"].n_unique() == rows.height == samples
    for text in rows["facts"].drop_nulls():
        Description.model_validate_json(text)
    assert not log.exists()


def test_the_offline_engine_answers_a_batch(checkpoint: Path) -> None:
    python = Path(os.environ[EXECUTABLE]).with_name("python")
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    command = [str(python), "-m", "tests.vllm.offline", str(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWERS "))
    result = json.loads(line.removeprefix("ANSWERS "))
    assert result["revision"].startswith("local-")
    for answer in result["answers"]:
        assert answer["finish"] == "stop"
        assert answer["prompt_tokens"] > 64
        Description.model_validate_json(answer["text"])
    assert len({answer["text"] for answer in result["answers"]}) == 4
