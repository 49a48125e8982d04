"""Shards behind a URL: fetched before their turn, held while they are needed, and no longer."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pytest

from mmidd.errors import DataError, UsageError
from mmidd.schema import Split
from mmidd.shards.blobs import Packs
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.publish import publish
from mmidd.shards.reading import read_ahead
from mmidd.shards.remote_packs import RemotePacks
from mmidd.shards.sampling import Sampling
from mmidd.shards.stream import Stream
from mmidd.shards.writer import write_shards
from mmidd.storage import Cache, open_folder
from mmidd.workspace import Workspace
from tests.audit.audit_world import build, row
from tests.shards.shard_world import make_world
from tests.shards.test_shard_stream import Keys, keys


@pytest.fixture
def url() -> Iterator[str]:
    yield "memory://reading/shards"
    fsspec.filesystem("memory").rm("/reading", recursive=True)


def remote(url: str, local: Path, **options: Any) -> None:
    """Shards at a URL."""
    make_world(400).write(local, target_bytes=16_000, **options)
    publish(local, open_folder(url))


def test_a_stream_from_afar_is_the_local_one_within_a_small_cache(url: str, tmp_path: Path) -> None:
    remote(url, tmp_path / "shards")
    here = ShardDataset(tmp_path / "shards", Split.TRAIN)
    largest = max(shard.bytes for shard in here.index.shards)
    room = 8 * largest
    assert sum(shard.bytes for shard in here.shards.values()) > 2 * room
    cache = Cache(tmp_path / "cache", room)
    there = ShardDataset(url, Split.TRAIN, cache=cache)
    sampling = Sampling(window=2)
    local, far = (Stream(d, Keys(d), sampling, seed=0, batch=8) for d in (here, there))
    for _ in range(2):
        assert keys(far) == keys(local)
    held = sum(path.stat().st_size for path in (tmp_path / "cache").iterdir() if path.is_file())
    assert held <= room
    assert there.folder.transfers().files > len(here.shards), (
        "every epoch reads what the cache could not keep"
    )


def locked(path: Path) -> bool:
    """Whether a process has the cached file open."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_shards_are_held_from_their_first_to_their_last_sample(url: str, tmp_path: Path) -> None:
    remote(url, tmp_path / "shards")
    folder = open_folder(url, Cache(tmp_path / "cache"))
    index = ShardDataset(tmp_path / "shards", Split.TRAIN).index
    shards = [shard for shard in index.of_split(Split.TRAIN) if shard.samples][:4]
    shard_of = np.array([0, 0, 1, 1, 2, 3], dtype=np.int32)
    batches = [np.array(batch, dtype=np.int32) for batch in ([2, 0], [3], [1, 4], [5])]
    held = []
    with read_ahead(folder, shards, shard_of, batches) as need:
        for batch in batches:
            need(batch)
            held.append([locked(tmp_path / "cache" / shard.sha256) for shard in shards[:2]])
    assert held == [[True, True], [True, True], [True, False], [False, False]]


def test_a_shard_missing_there_is_left_to_its_samples(url: str, tmp_path: Path) -> None:
    remote(url, tmp_path / "shards")
    name = ShardDataset(tmp_path / "shards", Split.TRAIN).rows["shard"][0]
    fsspec.filesystem("memory").rm(f"/reading/shards/{name}")
    dataset = ShardDataset(url, Split.TRAIN, cache=Cache(tmp_path / "cache"))
    loaded = list(Stream(dataset, Keys(dataset), Sampling(window=1), seed=0, batch=8))
    unusable = [why for batch in loaded for why in batch.unusable]
    assert len(unusable) == (dataset.rows["shard"] == name).sum() > 0
    assert all(
        isinstance(why, DataError) and why.reason == "missing" and name in why.detail for why in unusable
    )


def test_packs_behind_a_url_give_the_same_shards(url: str, tmp_path: Path) -> None:
    spec = Workspace.open(tmp_path / "ws", create=True).pin({"frames": 4, "size": 32})
    kind = {"encoding": "jpeg", "spec_id": spec.spec_id}
    workspace = build(tmp_path / "ws", *(row(f"r{n}", source="ab"[n % 2], **kind) for n in range(6)))
    rows = workspace.samples().collect().with_columns(face=pl.lit(None, pl.String))
    write_shards(rows, Packs(workspace.root), tmp_path / "near", spec=spec)
    store = open_folder("memory://reading/packs")
    for pack in (workspace.root / "samples").glob("*/packs/*"):
        store.write(str(pack.relative_to(workspace.root)), pack)
    write_shards(rows, RemotePacks(store), tmp_path / "far", spec=spec)
    near, far = ({p.name: p.read_bytes() for p in (tmp_path / at).iterdir()} for at in ("near", "far"))
    assert near == far
    fsspec.filesystem("memory").rm("/reading/packs/samples/a", recursive=True)
    summary = write_shards(rows, RemotePacks(store), tmp_path / "half", spec=spec)
    assert (summary.samples, summary.rejected) == ({"train": 3}, {"missing": 3})


def test_publishing_again_copies_what_changed(url: str, tmp_path: Path) -> None:
    world, out, target = make_world(80), tmp_path / "shards", open_folder(url)
    world.write(out, target_bytes=16_000)
    shards = len(ShardDataset(out, Split.TRAIN).index.shards)
    assert publish(out, target).kept == 0
    assert publish(out, target).kept == shards
    world.changed(world.rows["sample_id"][0], face="somebody else").write(out, target_bytes=16_000)
    assert publish(out, target).kept == shards - 1


def test_a_url_without_shards_is_one_clear_line(url: str, tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/reading/other", b"")
    with pytest.raises(UsageError, match=r"no shards in memory://reading/shards; run"):
        ShardDataset(url, Split.TRAIN, cache=Cache(tmp_path))
