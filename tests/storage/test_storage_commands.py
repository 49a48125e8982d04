"""Training and evaluation from an S3 server, by the commands, through a network that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmidd.shards.publish import publish
from mmidd.storage import open_folder
from tests.cli.command import as_json, error_line, mmidd
from tests.shards.shard_world import make_world
from tests.storage.faults import Fault, Proxy
from tests.training.training_world import SMALL

SPLITS = ("train", "val", "train", "test", "train", "val")


@pytest.fixture
def url(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Shards in a bucket."""
    monkeypatch.setenv("MMIDD_CACHE", str(tmp_path / "cache"))
    make_world(240, split=lambda i: SPLITS[i // 2 % 6]).write(
        tmp_path / "made" / "shards", target_bytes=64_000
    )
    url = f"s3://shards/{tmp_path.name}/shards"
    publish(tmp_path / "made" / "shards", open_folder(url))
    return url


def settings(*more: str) -> list[str]:
    given = [*SMALL, "epochs=1", "workers=1", *more]
    return [part for setting in given for part in ("--set", setting)]


def test_the_commands_take_a_url(url: str, proxy: Proxy, tmp_path: Path) -> None:
    train = ["train", "lnclip", "--preset", "tiny", *settings("sampling={by: [label], window: 2}")]
    faults = (Fault("drop", 2_000), Fault("cut", 700), Fault("busy"), Fault("short", 600))
    proxy.faults.extend([Fault("sound")] * 2 + [fault for kind in faults for fault in (kind, Fault("sound"))])
    far = as_json(*train, "--data", url, "-w", tmp_path / "far")
    near = as_json(*train, "--data", tmp_path / "made" / "shards", "-w", tmp_path / "near")
    assert far["steps"] == near["steps"] > 3
    assert far["unusable"] == 0
    assert not proxy.faults, "all of them happened"
    weights = [
        (tmp_path / at / "runs/lnclip-tiny/weights.safetensors").read_bytes() for at in ("far", "near")
    ]
    assert weights[0] == weights[1]
    scored = as_json("eval", "lnclip-tiny", "--data", url, "-w", tmp_path / "far")
    assert scored["dataset"] == tmp_path.name


def test_refused_credentials_are_one_line(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    done = mmidd("train", "lnclip", "--preset", "tiny", *settings(), "--data", url, "-w", tmp_path / "ws")
    assert "AWS_ACCESS_KEY_ID" in error_line(done, 2)


def test_a_damaged_shard_is_skipped_counted_and_named(url: str, tmp_path: Path) -> None:
    shard = max((tmp_path / "made" / "shards").glob("train-*.tar"), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    open_folder(url).write(shard.name, bytes(data))
    train = ["train", "lnclip", "--preset", "tiny", *settings("sampling={}")]
    done = mmidd(*train, "--data", url, "-w", tmp_path / "ws")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "ws/runs/lnclip-tiny/metrics.jsonl").read_text().splitlines()
    said = [row["why"] for line in log if (row := json.loads(line))["event"] == "unusable"]
    assert len(said) > 10
    assert f"{len(said)} samples left out" in " ".join(done.stdout.split())
    assert done.stderr.count("left out: 1 samples") == 10, "the others are in the log"
    assert all("wrong_hash" in why and shard.name in why for why in said)
