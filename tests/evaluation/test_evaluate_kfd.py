"""`evaluate` with KFD's two stages on real shards: that the parts fit, not that they detect."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mmidd.errors import UsageError
from mmidd.evaluation.evaluate import evaluate, evaluation_dir
from mmidd.evaluation.evidence import load_evidence
from mmidd.evaluation.maps import locate
from mmidd.evaluation.simulated import DrawnPairs
from mmidd.preprocess.crop import encode_image
from mmidd.schema import SAMPLES, Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.writer import write_shards
from mmidd.spec import PreprocessSpec
from mmidd.training import trained
from mmidd.training.trained import Run
from tests.captioning.test_measured import points
from tests.preprocess_blend.faces import SIDE, picture
from tests.shards.shard_world import Kept
from tests.training.kfd_world import small_kfd
from tests.training.llm_world import llm_config, llm_task

SPEC = PreprocessSpec(size=SIDE, encoding="png")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two reals of the test split and one of validation, with landmarks, and a fake without a mask each."""
    columns = pl.DataFrame(SAMPLES.empty_table()).schema
    rows, blobs = [], {}
    for number, split in enumerate(("test", "test", "val")):
        for label in ("real", "fake"):
            key = f"{split}{number}{label}"
            blobs[key] = encode_image(picture(number + 50 * (label == "fake")), SPEC)
            rows.append(_row(key, split, label, number, blobs[key]))
    table = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)
    out = tmp_path_factory.mktemp("ws") / "shards"
    write_shards(table, Kept(blobs), out, spec=SPEC)
    return out


def _row(key: str, split: str, label: str, number: int, blob: bytes) -> dict[str, Any]:
    return {
        "sample_id": key,
        "source": "ff++",
        "label": label,
        "type": "REAL" if label == "real" else "FS",
        "split": split,
        "video_id": key,
        "identity_ids": [f"person {number}"],
        "landmarks": points().ravel().tolist(),
        "landmark_scheme": "dlib68",
        "crop_matrix": [1.0, 0, 0, 0, 1, 0],
        "spec_id": SPEC.spec_id,
        "encoding": "png",
        "length": len(blob),
        "sha256": hashlib.sha256(blob).hexdigest(),
    }


def run_of(task: Any, method: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(trained, "load_run", lambda *_: Run(task, SPEC, task.config, method))
    (folder / "run").mkdir()
    return folder / "run"


def test_the_first_stage_is_measured_on_forgeries_of_the_test_reals(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = small_kfd()
    run_dir = run_of(task, "kfd", tmp_path, monkeypatch)
    found = evaluate(run_dir, shards, simulated=["regional"], replicates=5)
    folder = evaluation_dir(run_dir, shards, ["regional"])
    assert folder.name == found.dataset == f"{shards.parent.name}-regional"
    assert {file.name for file in folder.iterdir()} == {
        "scores.parquet",
        "evidence.parquet",
        "evaluation.json",
        "report.html",
    }
    assert not (run_dir / "eval" / "threshold.json").exists(), "that is for the dataset itself"
    pairs = DrawnPairs(ShardDataset(shards, Split.TEST), ["regional"])
    expected: list[Any] = [
        locate(task.score(task.prepare([sample.image])).maps[0], sample.mask).iou  # type: ignore[index]
        for sample in (pairs[1], pairs[3])
    ]
    assert found.localisation[0].items == 2
    assert found.localisation[0].metrics["iou"].value == pytest.approx(np.mean(expected), abs=1e-3)
    assert found.verdicts == {}
    assert found.answers is None
    assert (folder / "report.html").read_text().count('alt="true mask"') == 2


def test_the_dataset_itself_is_measured_as_before(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = run_of(small_kfd(), "kfd", tmp_path, monkeypatch)
    found = evaluate(run_dir, shards, replicates=5)
    assert (found.headline.reals, found.headline.fakes) == (2, 2)
    assert found.localisation == (), "its fakes have no masks"
    assert found.marked is not None
    assert (run_dir / "eval" / "threshold.json").exists()
    with pytest.raises(UsageError, match="a run of kfd writes no answers"):
        evaluate(run_dir, shards, answers=True)


def test_the_second_stage_answers_in_batches_and_is_measured_beside_its_detector(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = llm_task(llm_config({"context": 512}, generation={"max_new_tokens": 3}))
    run_dir = run_of(task, "kfd-llm", tmp_path, monkeypatch)
    found = evaluate(run_dir, shards, simulated=["sbi"], answers=True, replicates=5)
    assert set(found.verdicts) == {"detector", "written"}
    assert found.answers is not None
    assert found.answers.items == 4
    assert found.regions[0].items == 2
    evidence = load_evidence(evaluation_dir(run_dir, shards, ["sbi"]) / "evidence.parquet")
    assert evidence is not None
    assert evidence["answer"].null_count() == 2, "validation is not answered"
    pairs = DrawnPairs(ShardDataset(shards, Split.TEST), ["sbi"])
    alone = task.evidence(task.prepare([pairs[1].image])).scores[0, 1]
    row = evidence.row(by_predicate=pl.col("sample_id") == pairs[1].key, named=True)
    assert row["detector"] == pytest.approx(float(alone), abs=1e-5)
