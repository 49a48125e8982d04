from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from mmidd.errors import UsageError
from mmidd.schema import Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.index import ShardIndex, read_entries
from mmidd.shards.verify import verify_shards
from mmidd.storage import Cache
from tests.shards.shard_world import World


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x55
    path.write_bytes(data)


@pytest.fixture
def entry(shards: Path) -> dict[str, object]:
    row: dict[str, object] = pl.DataFrame(read_entries(shards, Split.TRAIN)).row(5, named=True)
    return row


@pytest.mark.parametrize("full", [False, True])
def test_sound_shards_have_no_problem(shards: Path, full: bool) -> None:
    assert verify_shards(shards, full) == []


def test_a_flipped_image_byte_is_found_and_the_sample_named(shards: Path, entry: dict[str, int]) -> None:
    flip(shards / str(entry["shard"]), entry["image_offset"] + entry["image_length"] // 2)
    assert verify_shards(shards, full=False) == []
    found = {(problem.where, problem.reason) for problem in verify_shards(shards, full=True)}
    assert found == {(entry["shard"], "wrong_hash"), (f"{entry['shard']}: {entry['key']}", "wrong_hash")}


def test_every_flipped_byte_is_found(shards: Path, entry: dict[str, int]) -> None:
    path = shards / str(entry["shard"])
    sound = path.read_bytes()
    for offset in range(0, len(sound), len(sound) // 23):
        flip(path, offset)
        assert verify_shards(shards, full=True), offset
        path.write_bytes(sound)


def test_a_damaged_header_is_found_quickly(shards: Path, entry: dict[str, int]) -> None:
    flip(shards / str(entry["shard"]), entry["image_offset"] - 512 + 3)
    (problem,) = verify_shards(shards, full=False)
    assert (problem.where, problem.reason) == (f"{entry['shard']}: {entry['key']}", "bad_header")


def test_a_missing_shard_is_named(shards: Path) -> None:
    (shards / "train-00001.tar").unlink()
    assert [(p.where, p.reason) for p in verify_shards(shards, full=False)] == [
        ("train-00001.tar", "missing_shard")
    ]


def test_a_truncated_shard_is_found(shards: Path, entry: dict[str, int]) -> None:
    path = shards / str(entry["shard"])
    path.write_bytes(path.read_bytes()[: entry["image_offset"] + 10])
    reasons = {problem.reason for problem in verify_shards(shards, full=False)}
    assert reasons == {"wrong_size", "truncated"}


def test_a_stray_shard_is_found(shards: Path) -> None:
    (shards / "train-00099.tar").write_bytes(b"")
    assert [(p.where, p.reason) for p in verify_shards(shards, full=False)] == [
        ("train-00099.tar", "stray_shard")
    ]


def test_another_samples_table_is_found(world: World, shards: Path, tmp_path: Path) -> None:
    key = world.rows.filter(pl.col("type") == "FS")["sample_id"][0]
    world.changed(key, type="FR").write(tmp_path / "other")
    (tmp_path / "other" / "samples.parquet").replace(shards / "samples.parquet")
    quick = verify_shards(shards, full=False)
    assert {problem.reason for problem in quick} == {"wrong_hash", "wrong_count"}
    full = verify_shards(shards, full=True)
    assert any(key in problem.where and "type" in problem.detail for problem in full)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_samples_table_is_a_problem(shards: Path, tmp_path: Path, damage: str) -> None:
    table = shards / "samples.parquet"
    if damage == "gone":
        table.unlink()
    else:
        table.write_bytes(table.read_bytes()[:200])
    assert verify_shards(shards, full=False)[-1].reason == "unreadable"
    with pytest.raises(UsageError, match="mmidd shard"):
        ShardDataset(shards, Split.TRAIN, cache=Cache(tmp_path / "cache"))


def edit(shards: Path, /, **values: object) -> None:
    path = shards / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema_version": "0"}, "schema version 0"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_an_index_of_another_version_is_refused(
    shards: Path, values: dict[str, object], message: str
) -> None:
    edit(shards, **values)
    with pytest.raises(UsageError, match=message) as error:
        ShardIndex.load(shards)
    assert "mmidd shard" in str(error.value)


def test_an_index_that_points_elsewhere_is_refused(shards: Path) -> None:
    first, *rest = json.loads((shards / "index.json").read_text())["shards"]
    edit(shards, shards=[first | {"name": "../train-00000.tar"}, *rest])
    with pytest.raises(UsageError, match="name"):
        ShardIndex.load(shards)


def test_a_folder_without_index_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run `mmidd shard` first"):
        verify_shards(tmp_path, full=False)
