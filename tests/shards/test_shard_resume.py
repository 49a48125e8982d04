"""What a second run of the writer takes over from the first, and what it writes again."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mmidd.engine import EngineOptions
from mmidd.errors import TooManyFailures
from mmidd.shards.index import ShardIndex
from mmidd.shards.staging import staging_folder
from mmidd.shards.verify import verify_shards
from mmidd.shards.writer import write_shards
from tests.shards.shard_world import Kept, World
from tests.shards.test_shard_writer import contents, tars

TWO = EngineOptions(workers=2, time_limit=60)


@dataclass(frozen=True)
class Unread(Kept):
    """Fails the test when an image is read."""

    def image(self, row: Mapping[str, Any], /) -> bytes:
        raise AssertionError(row["sample_id"])


@dataclass(frozen=True)
class Deadly(Kept):
    """Kills the process that reads a certain row, once."""

    victim: str = ""
    died: Path = Path()

    def image(self, row: Mapping[str, Any], /) -> bytes:
        if row["sample_id"] == self.victim and not self.died.exists():
            self.died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().image(row)


class Stop(BaseException):
    pass


def stopped_after(world: World, out: Path, rows: int, **options: Any) -> None:
    """A run that ends, without any clean-up of its own, when so many rows are done."""

    def stop(done: int, total: int) -> None:
        if done >= rows:
            raise Stop

    with pytest.raises(Stop):
        world.write(out, on_progress=stop, **options)


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.glob("*.tar")}


def test_an_unchanged_folder_is_kept_without_reading_an_image(world: World, shards: Path) -> None:
    before, files = contents(shards), inodes(shards)
    summary = write_shards(
        world.rows, Unread(world.blobs), shards, spec=world.spec, seed=7, target_bytes=64_000
    )
    assert summary.kept == summary.shards == len(files)
    assert contents(shards) == before
    assert inodes(shards) == files
    assert [path.name for path in shards.parent.iterdir()] == ["shards"]


def test_a_changed_row_rewrites_its_shard_only(world: World, shards: Path, tmp_path: Path) -> None:
    files = inodes(shards)
    changed = world.changed(world.rows["sample_id"][17], method="another")
    summary = changed.write(shards)
    assert summary.shards - summary.kept == 1
    assert len(set(files.items()) - set(inodes(shards).items())) == 1
    changed.write(tmp_path / "fresh")
    assert contents(shards) == contents(tmp_path / "fresh")


def test_another_seed_keeps_nothing(world: World, shards: Path) -> None:
    assert world.write(shards, seed=8, target_bytes=1 << 30).kept == 0


@pytest.mark.parametrize("damage", [b"", b"x"], ids=["same size", "longer"])
def test_a_damaged_shard_is_written_again(world: World, shards: Path, damage: bytes) -> None:
    before = contents(shards)
    victim = max(shards.glob("*.tar"), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[1000] ^= 1
    victim.write_bytes(bytes(data) + damage)
    summary = world.write(shards)
    assert summary.shards - summary.kept == 1
    assert contents(shards) == before


def test_a_shard_that_lacks_rows_is_tried_again(world: World, tmp_path: Path) -> None:
    bad = world.rows["sample_id"][3]
    out = tmp_path / "out"
    replace(world, blobs={**world.blobs, bad: b"damaged"}).write(out)
    summary = world.write(out)
    assert (summary.shards - summary.kept, summary.rejected) == (1, {})
    world.write(tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_stopped_run_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped_after(world, out, 30)
    staged = inodes(staging_folder(out))
    summary = world.write(out)
    assert 2 <= summary.kept < summary.shards
    assert set(inodes(out).items()) > set(staged.items())
    world.write(tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")
    assert not staging_folder(out).exists()


def test_what_another_plan_staged_is_removed(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped_after(world, out, 60, target_bytes=8_000)
    (staging_folder(out) / ".tmp-train-00000.tar-left").touch()
    stopped_after(world, out, 0, seed=8)
    assert list(staging_folder(out).iterdir()) == []
    assert world.write(out, seed=8).kept == 0


def test_room_is_asked_for_only_what_is_not_finished(
    world: World, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("mmidd.shards.work.check_room", lambda folder, needed: asked.append(needed))
    changed = world.changed(world.rows["sample_id"][17], method="another")
    changed.write(shards)
    changed.write(shards)
    changed.write(shards, seed=8)
    sizes = [shard.bytes for shard in ShardIndex.load(shards).shards]
    assert asked[1] == 0 < asked[0] < asked[2] / 3
    assert asked[2] >= sum(sizes)


def test_bytes_do_not_depend_on_the_number_of_workers(world: World, shards: Path, tmp_path: Path) -> None:
    world.write(tmp_path / "two", options=TWO)
    assert contents(tmp_path / "two") == contents(shards)


def test_a_killed_worker_is_named_and_the_other_shards_are_kept(
    world: World, shards: Path, tmp_path: Path
) -> None:
    victim = world.rows["sample_id"][17]
    blobs = Deadly(world.blobs, victim=victim, died=tmp_path / "died")
    out = tmp_path / "out"
    options: dict[str, Any] = {"spec": world.spec, "seed": 7, "target_bytes": 64_000, "options": TWO}
    with pytest.raises(TooManyFailures, match=r"1 of \d+ shards could not be written \(1 worker_died"):
        write_shards(world.rows, blobs, out, **options)
    assert not out.exists()
    summary = write_shards(world.rows, blobs, out, **options)
    assert summary.shards - summary.kept == 1
    assert contents(out) == contents(shards)
    assert not verify_shards(out, full=True)


def test_index_names_what_every_shard_was_written_from(world: World, shards: Path, tmp_path: Path) -> None:
    key = world.rows["sample_id"][17]
    world.changed(key, method="another").write(tmp_path / "b")
    units = [{s.name: s.unit for s in ShardIndex.load(folder).shards} for folder in (shards, tmp_path / "b")]
    differ = {name for name in units[0] if units[0][name] != units[1][name]}
    assert differ == {name for name, digest in tars(shards).items() if tars(tmp_path / "b")[name] != digest}
    assert len(differ) == 1
    assert len(set(units[0].values())) == len(units[0])


def test_where_a_blob_lies_changes_no_unit(world: World, shards: Path) -> None:
    moved = replace(world, rows=world.rows.with_columns(pack=pl.lit("q.tar"), attempt=pl.lit(3)))
    assert moved.write(shards).kept == len(tars(shards))
