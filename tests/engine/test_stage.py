"""The engine's promises: every unit leaves a row, whatever happens to its worker."""

from __future__ import annotations

import os
import time
from pathlib import Path

import polars as pl
import pytest

from mmidd.engine import Blob, EngineOptions, Ledger, Row, Stage, Summary, Unit, content_id, run_stage
from mmidd.engine.progress import Silent, summary_table
from mmidd.errors import DataError, StorageError, TooManyFailures, WorkspaceBusy
from mmidd.schema import SAMPLES, Status

FATES = {
    "data": "bad_pixel",
    "raises": "error_ValueError",
    "exits": "worker_died",
    "hangs": "timed_out",
    "eats": "out_of_memory",
    "nothing": "empty",
    "rejects": "no_face",
}


def work(fate: str) -> list[Row]:
    match fate:
        case "data":
            raise DataError("bad_pixel", "at 3,4")
        case "raises":
            raise ValueError("two\nlines")
        case "exits":
            os._exit(7)
        case "hangs":
            time.sleep(60)
        case "eats":
            bytearray(3 << 30)
        case "nothing":
            return []
        case "rejects":
            return [Row({}, Status.REJECTED, "no_face"), Row({}, Status.REJECTED, "no_face")]
    return [Row({"sample_id": content_id(fate)}, blobs=(Blob(fate.encode() * 100, "jpg"),))]


def units(fates: list[str]) -> list[Unit]:
    return [Unit(content_id(fate), fate, fate, {"source": "x", "src_path": fate}) for fate in fates]


STAGE = Stage("test", SAMPLES, work)
OPTIONS = EngineOptions(workers=2, time_limit=2.0, memory_limit=2 << 30)


def run(root: Path, fates: list[str], options: EngineOptions = OPTIONS) -> tuple[Ledger, Summary]:
    ledger = Ledger(root, SAMPLES)
    return ledger, run_stage(STAGE, ledger, units(fates), options, Silent(), len(fates))


def test_every_fate_becomes_a_row_with_its_reason(tmp_path: Path) -> None:
    ledger, summary = run(tmp_path, [*FATES, "good", "also good"])
    rows = ledger.scan().collect()
    failed = rows.filter(pl.col("status") == "failed")
    assert dict(failed.select("src_path", "reason").iter_rows()) == FATES
    assert set(rows["unit_id"]) == {unit.unit_id for unit in units([*FATES, "good", "also good"])}
    assert (summary.finished, summary.failed, summary.samples, summary.rejected) == (9, 7, 2, 2)
    assert failed.filter(pl.col("reason") == "error_ValueError")["detail"].to_list() == ["two lines"]
    assert "no_face" in str([column._cells for column in summary_table(summary).columns])


def test_blobs_lie_where_the_rows_say(tmp_path: Path) -> None:
    ledger, _ = run(tmp_path, ["a", "b", "c"])
    for row in ledger.scan().collect().iter_rows(named=True):
        assert ledger.read(row["pack"], row["offset"], row["length"]) == row["src_path"].encode() * 100


def test_done_units_are_skipped_and_failures_retried_only_when_asked(tmp_path: Path) -> None:
    run(tmp_path, ["good", "data"])
    _, again = run(tmp_path, ["good", "data", "new"])
    assert (again.done_before, again.finished, again.failed_before) == (2, 1, 1)
    retry = EngineOptions(workers=1, retry_failed=True)
    ledger, retried = run(tmp_path, ["good", "data", "new"], retry)
    assert (retried.finished, retried.failed) == (1, 1)
    rows = ledger.scan().filter(pl.col("src_path") == "data").collect()
    assert rows["attempt"].to_list() == [1]


def test_too_many_failures_is_an_error_also_when_they_are_old(tmp_path: Path) -> None:
    _, summary = run(tmp_path, ["good", "data"])
    with pytest.raises(TooManyFailures, match="1 of 2"):
        summary.check(0.05)
    _, again = run(tmp_path, ["good", "data"])
    with pytest.raises(TooManyFailures, match="--retry-failed"):
        again.check(0.05)
    again.check(0.5)


def test_a_unit_listed_twice_is_a_bug_of_the_reader(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="listed_twice"):
        run(tmp_path, ["good", "good"])


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SAMPLES)
    with ledger.writing(), pytest.raises(WorkspaceBusy, match="another mmidd process"):
        run(tmp_path, ["good"])


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    run(tmp_path, ["good"])
    ledger = Ledger(tmp_path, SAMPLES)
    for orphan in ("packs/feed.tar", "packs/.tmp-x.tar", "parts/.tmp-x.parquet"):
        (tmp_path / orphan).write_bytes(b"half")
    assert len(ledger.orphans()) == 3
    run(tmp_path, ["good"])
    assert ledger.orphans() == []
    assert len(ledger.packs) == len(ledger.parts) == 1


def test_a_full_disk_is_one_line_and_keeps_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, ["good"])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mmidd.engine.ledger.pq.write_table", full)
        with pytest.raises(StorageError, match="the disk is full"):
            run(tmp_path, ["good", "more"])
    ledger, summary = run(tmp_path, ["good", "more"])
    assert (summary.done_before, summary.finished) == (1, 1)
    assert ledger.orphans() == []


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SAMPLES)
    with ledger.writing(), pytest.raises(KeyError, match="colour"):
        ledger.commit([("u", 0, [Row({"colour": "red"})])])
