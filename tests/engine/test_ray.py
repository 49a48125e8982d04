"""The Ray engine on a real cluster of two nodes: the rows and bytes of the local one, whatever dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mmidd.engine import EngineOptions, Ledger, Stage, Summary, Unit, content_id, run_stage
from mmidd.engine.on_ray import RayPool
from mmidd.engine.progress import Silent
from mmidd.engine.stage import worker_pool
from mmidd.errors import UsageError
from mmidd.schema import PLACEMENT_COLUMNS, SAMPLES
from mmidd.workspace import Workspace
from tests.cli.command import as_json, error_line, mmidd
from tests.cli.five_faces import make
from tests.engine.ray_work import KILLER, kill_actor, slow
from tests.engine.test_stage import FATES
from tests.engine.test_stage import STAGE as FATEFUL
from tests.engine.test_stage import units as fates

pytest.importorskip("ray", reason="needs ray")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

LOCAL = EngineOptions(workers=2, time_limit=3.0, memory_limit=2 << 30)
RAY = replace(LOCAL, engine="ray", workers=None)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that does no work, and two nodes with a processor each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # so that others' work does not starve the test's
        nodes: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        patch.setenv("RAY_ADDRESS", nodes.address)
        yield nodes
        nodes.shutdown()


def content(ledger: Ledger) -> tuple[pl.DataFrame, list[bytes]]:
    """The rows but for where their bytes lie, and those bytes."""
    rows = ledger.scan().collect().sort("unit_id", "sample_id")
    stored = rows.drop_nulls("pack")
    blobs = [ledger.read(*place) for place in stored.select("pack", "offset", "length").iter_rows()]
    return rows.drop(*PLACEMENT_COLUMNS & set(rows.columns)), blobs


class Killer(Silent):
    """Kills a node when so many units are done."""

    def __init__(self, cluster: Any, after: int) -> None:
        self.cluster, self.after = cluster, after

    def advance(self, unit: Unit | None, summary: Summary) -> None:
        if unit and summary.finished == self.after:
            self.cluster.remove_node(next(iter(self.cluster.worker_nodes)), allow_graceful=False)


def test_a_node_that_dies_costs_nothing_but_time(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage, log = Stage("slow", SAMPLES, slow), tmp_path / "log"
    units = [Unit(content_id("slow", k), str(k), (k, log)) for k in range(40)]
    tables = [Ledger(tmp_path / name, SAMPLES) for name in ("local", "ray")]
    run_stage(stage, tables[0], units, replace(LOCAL, time_limit=60), Silent())
    log.unlink()
    try:
        summary = run_stage(stage, tables[1], units, replace(RAY, time_limit=60), Killer(cluster, 10))
    finally:
        cluster.add_node(num_cpus=1)
    assert capsys.readouterr().out == ""
    assert (summary.finished, summary.failed, summary.samples) == (40, 0, 40)
    (expected, blobs), (rows, again) = map(content, tables)
    assert rows.equals(expected)
    assert again == blobs
    calls = [line.split()[0] for line in log.read_text().splitlines()]
    assert len(calls) > len(set(calls)) == 40


def test_a_unit_fares_as_it_does_on_this_machine(cluster: Any, tmp_path: Path) -> None:
    tables = [Ledger(tmp_path / name, SAMPLES) for name in ("local", "ray")]
    for table, options in zip(tables, (LOCAL, RAY), strict=True):
        run_stage(FATEFUL, table, fates([*FATES, "good"]), options, Silent())
    (expected, blobs), (rows, again) = map(content, tables)
    assert rows.equals(expected)
    assert again == blobs
    reasons = rows.filter(pl.col("status") == "failed").select("src_path", "reason")
    assert dict(reasons.iter_rows()) == FATES


def test_a_unit_that_kills_its_actors_fails_alone(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although short units travel together."""
    monkeypatch.setattr("mmidd.engine.on_ray.DEATHS", 2)
    units = [Unit(str(k), str(k), k) for k in range(300)]
    with worker_pool(kill_actor, RAY) as pool:
        assert isinstance(pool, RayPool)
        found = [(unit.payload, rows[0]) for unit, rows in filter(None, pool.run(units))]
    assert sorted(number for number, _ in found) == list(range(300))
    assert [(number, row.reason) for number, row in found if row.reason] == [(KILLER, "worker_died")]
    assert all(row.columns == {"sample_id": str(number)} for number, row in found if number != KILLER)


def test_the_connection_leaves_nothing_behind(cluster: Any) -> None:
    import ray

    before = signal.getsignal(signal.SIGTERM)
    with worker_pool(kill_actor, RAY) as pool:
        assert signal.getsignal(signal.SIGTERM) is before
        assert list(filter(None, pool.run([]))) == []
        assert ray.is_initialized()
    assert not ray.is_initialized()
    ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False)
    try:
        with worker_pool(kill_actor, RAY):
            pass
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("mmidd.__version__", "0", "has mmidd .*, this is 0; install the same"),
        ("mmidd.engine.on_ray.Path.cwd", lambda: "/nowhere", "cannot work in /nowhere .*same paths"),
    ],
)
def test_another_installation_or_other_paths_are_one_line(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, place: str, value: Any, message: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(place, value)
        with pytest.raises(UsageError, match=message), worker_pool(kill_actor, RAY) as pool:
            list(pool.run([]))


def test_the_command_gives_the_same_rows_and_bytes(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder than the nodes', with a path relative to it."""
    monkeypatch.chdir(tmp_path)
    tables, shards = [], []
    for engine in ("local", "ray"):
        make(tmp_path / engine)
        options = ("--engine", engine, "--per-real", 2, "--max-failed", 1, "-w", engine)
        summary = as_json("simulate", *options)
        assert (summary["finished"], summary["reasons"]) == (12, {"failed: no_landmarks": 2})
        tables.append(content(Ledger(Workspace.open(Path(engine)).root / "simulated/sbi", SAMPLES)))
        assert as_json("shard", "--engine", engine, "--target-size", 1, "-w", engine)["shards"] > 1
        shards.append({path.name: path.read_bytes() for path in Path(engine, "shards").iterdir()})
    (expected, blobs), (rows, again) = tables
    assert rows.equals(expected)
    assert again == blobs
    assert shards[0] == shards[1]


def test_no_cluster_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "ws")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    line = error_line(mmidd("simulate", "--engine", "ray", "-w", tmp_path / "ws"), 2)
    assert "RAY_ADDRESS=127.0.0.1:9" in line
    assert "ray start --head" in line
