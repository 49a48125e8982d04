from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import webdataset as wds

from mmidd.errors import DataError, StorageError, TooManyFailures, UsageError
from mmidd.schema import Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.index import ShardIndex
from mmidd.shards.verify import verify_shards
from mmidd.shards.writer import write_shards
from tests.shards.shard_world import Kept, World, make_world

webdataset_leaves_files_open = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def tars(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in contents(folder).items() if name.endswith(".tar")}


def test_repeating_gives_the_same_bytes_for_any_row_and_column_order(world: World, tmp_path: Path) -> None:
    world.write(tmp_path / "a")
    world.write(tmp_path / "b")
    mixed = world.rows.select(sorted(world.rows.columns)).sample(fraction=1.0, shuffle=True, seed=3)
    replace(world, rows=mixed).write(tmp_path / "c")
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")
    assert len(tars(tmp_path / "a")) > 4


def test_where_a_blob_lies_in_its_pack_changes_nothing(world: World, tmp_path: Path) -> None:
    moved = world.rows.with_columns(
        pack=pl.lit("other.tar"),
        offset=pl.lit(9, dtype=pl.Int64),
        attempt=pl.lit(1),
        table=pl.lit("samples/x"),
    )
    world.write(tmp_path / "a")
    replace(world, rows=moved).write(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_seed_gives_another_order(world: World, tmp_path: Path) -> None:
    world.write(tmp_path / "a")
    world.write(tmp_path / "b", seed=8)
    orders = [ShardDataset(tmp_path / name, Split.TRAIN).rows["key"].to_list() for name in "ab"]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_the_order_does_not_follow_the_manifest(world: World, shards: Path) -> None:
    order = ShardDataset(shards, Split.TRAIN).rows["frame_index"].to_numpy()
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.4


def test_a_changed_or_removed_row_changes_only_its_shard(world: World, tmp_path: Path) -> None:
    world.write(tmp_path / "a")
    before = tars(tmp_path / "a")
    key = world.rows["sample_id"][17]
    home = ShardDataset(tmp_path / "a", Split.TRAIN).rows.filter(pl.col("key") == key)["shard"].item()
    world.changed(key, method="another").write(tmp_path / "b")
    replace(world, rows=world.rows.filter(pl.col("sample_id") != key)).write(tmp_path / "c")
    for name in "bc":
        after = tars(tmp_path / name)
        assert after.keys() == before.keys()
        assert {shard for shard in before if before[shard] != after[shard]} == {home}


def test_images_pass_untouched_and_json_holds_the_content(world: World, shards: Path) -> None:
    expected = {row["sample_id"]: row for row in world.rows.iter_rows(named=True)}
    seen = set()
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
                key, extension = member.name.split(".")
                file = tar.extractfile(member)
                assert file
                data = file.read()
                if extension == "jpg":
                    assert data == world.blobs[key]
                    continue
                seen.add(key)
                row = json.loads(data)
                want = expected[key]
                assert list(row) == sorted(row)
                assert b" " not in re.sub(rb'"(\\.|[^"\\])*"', b"", data)
                assert not row.keys() & {"pack", "offset", "length", "attempt", "status", "unit_id"}
                assert [row[n] for n in ("label", "type", "face", "environment", "identity_ids")] == [
                    want[n] for n in ("label", "type", "face", "environment", "identity_ids")
                ]
                assert row["box"] == [0.1, 1.25, 30.7, 31.0]
                assert np.array_equal(np.float32(row["landmarks"]), np.float32(want["landmarks"]))
    assert seen == expected.keys()


def test_index_counts_agree_with_the_manifest(world: World, shards: Path) -> None:
    index = ShardIndex.load(shards)
    assert index.spec == world.spec
    assert index.spec_id == world.spec.spec_id
    for split in (Split.TRAIN, Split.VAL):
        part = world.rows.filter(pl.col("split") == split.value)
        of_split = index.of_split(split)
        assert [shard.name for shard in of_split] == [f"{split}-{i:05d}.tar" for i in range(len(of_split))]
        for column, counts in (("source", "by_source"), ("type", "by_type")):
            totals: dict[str, int] = {}
            for shard in of_split:
                for name, count in getattr(shard, counts).items():
                    totals[name] = totals.get(name, 0) + count
            assert totals == dict(part[column].value_counts().iter_rows())


@webdataset_leaves_files_open
def test_stock_webdataset_reads_the_shards(world: World, shards: Path) -> None:
    urls = [str(path) for path in sorted(shards.glob("train-*.tar"))]
    dataset = wds.WebDataset(urls, shardshuffle=False).decode("rgb8")
    samples = {sample["__key__"]: sample for sample in dataset}
    ours = ShardDataset(shards, Split.TRAIN)
    assert list(samples) == ours.rows["key"].to_list()
    for sample in (ours[i] for i in range(len(ours))):
        theirs = samples[sample.key]
        assert theirs["json"] == sample.row
        assert np.abs(theirs["jpg"].astype(int) - sample.image).max() <= 1


@webdataset_leaves_files_open
def test_stock_webdataset_reads_an_empty_shard(tmp_path: Path) -> None:
    world = make_world(12, split=lambda i: "train")
    world.write(tmp_path / "out", target_bytes=1)
    index = ShardIndex.load(tmp_path / "out")
    assert 0 in [shard.samples for shard in index.shards]
    assert not verify_shards(tmp_path / "out", full=True)
    urls = [str(tmp_path / "out" / shard.name) for shard in index.shards]
    assert sum(1 for _ in wds.WebDataset(urls, shardshuffle=False)) == 12


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("wrong_hash", {"sha256": "0" * 64}),
    ("bad_split", {"split": "dev"}),
    ("bad_encoding", {"encoding": "bmp"}),
    ("other_spec", {"spec_id": "another"}),
    ("incomplete", {"type": None}),
    ("not_json", {"det_score": float("nan")}),
    ("bad_key", {"sample_id": "a.b"}),
]


@pytest.mark.parametrize(("reason", "values"), FAULTS)
def test_a_bad_row_is_left_out_and_named(
    world: World, tmp_path: Path, reason: str, values: dict[str, Any]
) -> None:
    key = world.rows["sample_id"][3]
    summary = world.changed(key, **values).write(tmp_path / "out")
    assert summary.rejected == {reason: 1}
    assert summary.failed_share == pytest.approx(1 / 60)
    assert sum(summary.samples.values()) == 59
    named = pl.read_parquet(tmp_path / "out" / "rejected.parquet")
    assert named["sample_id"].to_list() == [values.get("sample_id", key)]
    assert named["reason"].to_list() == [reason]
    assert not verify_shards(tmp_path / "out", full=True)


def test_duplicate_keys_are_all_left_out(world: World, tmp_path: Path) -> None:
    twice = replace(world, rows=pl.concat([world.rows, world.rows[:1]]))
    assert twice.write(tmp_path / "out").rejected == {"duplicate_key": 2}


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), DataError("pack_missing", "p.tar")])
def test_an_unreadable_blob_is_a_rejected_row(world: World, tmp_path: Path, error: Exception) -> None:
    bad = world.rows["sample_id"][0]

    class Faulty(Kept):
        def image(self, row: Mapping[str, Any], /) -> bytes:
            if row["sample_id"] == bad:
                raise error
            return super().image(row)

    summary = write_shards(world.rows, Faulty(world.blobs), tmp_path / "out", spec=world.spec)
    assert sum(summary.rejected.values()) == 1
    assert set(summary.rejected) <= {"unreadable", "pack_missing"}


def test_nothing_usable_keeps_the_previous_shards(world: World, shards: Path) -> None:
    before = contents(shards)
    broken = replace(world, blobs=dict.fromkeys(world.blobs, b"other"))
    with pytest.raises(TooManyFailures, match="wrong_hash 60"):
        broken.write(shards, seed=1)
    assert contents(shards) == before


def test_no_samples_is_a_usage_error(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mmidd ingest"):
        replace(world, rows=world.rows[:0]).write(tmp_path / "out")
    with pytest.raises(UsageError, match="split"):
        replace(world, rows=world.rows.drop("split")).write(tmp_path / "out")


def test_stale_shards_go_and_foreign_files_stay(world: World, shards: Path) -> None:
    (shards / "notes.txt").write_text("mine")
    many = len(tars(shards))
    world.write(shards, target_bytes=10_000_000)
    assert len(tars(shards)) == 2 < many
    assert (shards / "notes.txt").read_text() == "mine"
    assert not verify_shards(shards, full=True)


def test_progress_ends_at_the_number_of_rows(world: World, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    world.write(tmp_path / "out", on_progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (60, 60)
    assert calls == sorted(calls)


def test_too_little_room_is_said_before_writing(
    world: World, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(shards)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match=r"need 0\.00 GB"):
        world.write(shards, seed=1)
    assert contents(shards) == before


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from shard_world import make_world
    from mmidd.errors import StorageError
    world = make_world()
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        world.write(Path({out!r}), seed=1)
    except StorageError as error:
        sys.exit(str(error))
"""

KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from shard_world import make_world
    world = make_world()
    die = lambda done, total: done > 30 and os.kill(os.getpid(), signal.SIGKILL)
    world.write(Path({out!r}), seed=1, on_progress=die)
"""


def run(script: str, out: Path) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(script).format(tests=str(Path(__file__).parent), out=str(out))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_full_disk_is_one_line_and_keeps_the_previous_shards(shards: Path) -> None:
    before = contents(shards)
    result = run(FULL_DISK, shards)
    assert result.returncode == 1
    assert "the disk is full" in result.stderr
    assert "Traceback" not in result.stderr
    assert contents(shards) == before
    assert not list((shards.parent / ".shards.partial").glob(".tmp-*"))


def test_a_killed_write_keeps_the_previous_shards_and_can_be_repeated(world: World, shards: Path) -> None:
    before = contents(shards)
    assert run(KILLED, shards).returncode == -signal.SIGKILL
    assert contents(shards) == before
    assert not verify_shards(shards, full=True)
    world.write(shards, seed=1)
    world.write(shards.parent / "fresh", seed=1)
    assert contents(shards) == contents(shards.parent / "fresh")
    assert sorted(path.name for path in shards.parent.iterdir()) == ["fresh", "shards"]


def test_a_kill_while_moving_leaves_no_index(
    world: World, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[Path] = []
    move = Path.replace

    def die(self: Path, target: Path) -> Path:
        moved.extend([self] if target.parent == shards else [])
        if len(moved) > 3:
            raise KeyboardInterrupt
        return move(self, target)

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        world.write(shards, seed=1)
    with pytest.raises(UsageError, match="mmidd shard"):
        ShardDataset(shards, Split.TRAIN)
    monkeypatch.undo()
    summary = world.write(shards, seed=1)
    assert summary.kept == summary.shards
    world.write(shards.parent / "fresh", seed=1)
    assert contents(shards) == contents(shards.parent / "fresh")
