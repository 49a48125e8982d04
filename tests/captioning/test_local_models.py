"""Models in this process and on a Ray cluster: a tiny checkpoint for real, a scripted one for the rules."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mmidd.captioning.answers import AnswerLog
from mmidd.captioning.backends.base import Answer, Request, Sampling
from mmidd.captioning.catalogue import Checkpoint, Engine, resolve
from mmidd.captioning.engines import start
from mmidd.captioning.run import Captions, batch_pool
from mmidd.captioning.select import Choice, choose
from mmidd.engine import EngineOptions, Stage, Summary, run_stage
from mmidd.engine.progress import Silent
from mmidd.errors import UsageError
from mmidd.workspace import Workspace
from tests.audit.audit_world import build, row
from tests.captioning.caption_server import GOOD
from tests.vllm.tiny_qwen2vl import write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny-qwen2-vl")


def world(root: Path, count: int = 6) -> Workspace:
    return build(root, *(row(f"s{k}") for k in range(count)))


def do(captions: Captions, stage: Stage, revision: str | None = None) -> Summary:
    units = captions.units(choose(captions.workspace, Choice()), revision)
    return run_stage(stage, captions.ledger(), units, EngineOptions(), Silent())


def table(captions: Captions) -> pl.DataFrame:
    return captions.workspace.tables()[f"captions/{captions.name}"].scan().collect()


class Scripted:
    """Cannot describe a picture the first `fails` times that it is asked about it."""

    revision = "r1"

    def __init__(self, fails: int) -> None:
        self.fails, self.asked = fails, Counter[bytes]()
        self.batches: list[list[Sampling]] = []

    def answer(self, requests: list[Request]) -> list[Answer]:
        self.batches.append([request.sampling for request in requests])
        self.asked.update(request.image for request in requests)
        return [
            Answer(GOOD if self.asked[r.image] > self.fails else "no", "stop", 9, 4, 0.1) for r in requests
        ]


def scripted(workspace: Workspace, model: Scripted, size: int) -> tuple[Captions, Summary]:
    captions = Captions(workspace, "m", Checkpoint("m", "a/m"), Sampling())
    with captions.log() as log:
        summary = do(captions, captions.stage(batch_pool(captions, log, [model], size)))
    return captions, summary


def test_batches_are_asked_together_and_only_the_unusable_again(tmp_path: Path) -> None:
    model = Scripted(fails=1)
    captions, summary = scripted(world(tmp_path, 5), model, 3)
    assert (summary.samples, summary.totals["prompt_tokens"]) == (5, 2 * 9 * 5)
    assert [len(batch) for batch in model.batches if batch] == [3, 3, 2, 2]
    assert {s for batch in model.batches[1::2] for s in batch} == {Sampling(0.7, 1)}
    assert set(table(captions)["tries"]) == {2}


def test_a_damaged_image_fails_alone_and_is_not_sent(tmp_path: Path) -> None:
    workspace = world(tmp_path, 3)
    pack = next((tmp_path / "samples/own/packs").iterdir())
    data = bytearray(pack.read_bytes())
    offset = workspace.samples().collect()["offset"][0]
    data[offset + 20] ^= 255
    pack.write_bytes(data)
    model = Scripted(fails=0)
    _, summary = scripted(workspace, model, 8)
    assert summary.reasons == {"failed: damaged_blob": 1}
    assert (summary.samples, model.asked.total()) == (2, 2)


def test_answers_in_the_log_are_not_asked_for_again(tmp_path: Path) -> None:
    workspace, model = world(tmp_path, 4), Scripted(fails=0)
    captions = Captions(workspace, "m", Checkpoint("m", "a/m"), Sampling())
    units = list(captions.units(choose(workspace, Choice()), None))
    with captions.log() as log:
        for unit in units[:3]:
            log.put(f"{unit.unit_id}:0", Answer(GOOD))
    path = captions.folder / "answers.jsonl"
    path.write_text(path.read_text() + '{"key": "torn')
    with AnswerLog(path) as log:
        assert len(log) == 3
        summary = do(captions, captions.stage(batch_pool(captions, log, [model], 8)))
    assert (summary.samples, model.asked.total()) == (4, 1)


def test_transformers_runs_a_real_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    """What a random model writes is noise, so that every sample is asked twice and then fails."""
    captions = Captions(world(tmp_path, 3), "tiny", resolve(str(checkpoint)), Sampling())
    with captions.log() as log:
        ready = start(captions, log, Engine.TRANSFORMERS, None, 2)
        summary = do(captions, captions.stage(ready.pool), ready.revision)
    assert summary.failed == 3
    assert all(reason.split()[1] in {"not_json", "truncated"} for reason in summary.reasons), summary.reasons
    rows = table(captions)
    assert set(rows["tries"]) == {2}
    assert rows["revision"].str.starts_with("local-").all()
    assert (rows["prompt_tokens"] > 100).all()
    assert (rows["completion_tokens"] > 0).all()
    assert (rows["raw"].str.len_chars() > 0).all()


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    captions = Captions(world(tmp_path / "ws", 1), "x", resolve(str(tmp_path)), Sampling())
    with captions.log() as log, pytest.raises(UsageError, match="cannot be loaded"):
        start(captions, log, Engine.TRANSFORMERS, None, 2)


@pytest.fixture
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="needs ray")
    from ray.cluster_utils import Cluster

    nodes: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    yield ray
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_goes_on_when_a_worker_is_killed(cluster: Any, checkpoint: Path, tmp_path: Path) -> None:
    captions = Captions(world(tmp_path, 12), "tiny", resolve(str(checkpoint)), Sampling())
    with captions.log() as log:
        ready = start(captions, log, Engine.RAY_TRANSFORMERS, None, 2)
        assert "2 Ray actors" in ready.about
        workers = processes("ray::Worker")
        assert len(workers) == 2

        def kill() -> None:
            while len(log) < 4:
                time.sleep(0.05)
            os.kill(workers[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        summary = do(captions, captions.stage(ready.pool), ready.revision)
        killer.join()
    assert summary.finished == 12
    assert all(reason.split()[1] in {"not_json", "truncated"} for reason in summary.reasons), summary.reasons
    assert table(captions)["sample_id"].n_unique() == 12
    assert processes("ray::Worker") != workers


def processes(name: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if text.startswith(name):
            found.append(int(path.parent.name))
    return sorted(found)
