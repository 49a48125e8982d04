"""`evaluate` on real shards and a real, untrained run: that the parts fit, not that it detects."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from mmidd.detection.predictor import Predictor
from mmidd.errors import SpecMismatch, UsageError
from mmidd.evaluation.evaluate import evaluate, evaluation_dir
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.results import Evaluation, load_threshold
from mmidd.evaluation.tables import load_scores
from mmidd.preprocess.crop import encode_image
from mmidd.schema import SAMPLES, Split
from mmidd.shards.writer import write_shards
from mmidd.spec import PreprocessSpec
from mmidd.training.checkpoint import start_run
from mmidd.training.config import apply_overrides, load_preset
from mmidd.training.tasks import build_task
from mmidd.training.trained import WEIGHTS, save_weights, trained_state
from tests.evaluation.evaluation_world import SPEC, FakeSamples
from tests.shards.shard_world import Kept

SHAPE = (
    "backbone.shape={embed_dim: 16, stem: patch, "
    "vision: {image_size: 32, patch_size: 8, width: 32, layers: 1, head_width: 16}, "
    "text: {context_length: 16, width: 16, heads: 2, layers: 1}}"
)


@dataclass(frozen=True)
class World:
    run: Path
    shards: Path
    evaluation: Evaluation


def _shard(out: Path, spec: PreprocessSpec, *splits: str) -> Path:
    samples = [
        sample for seed, split in enumerate(splits) for sample in FakeSamples(split, 10, seed, 2).samples
    ]
    blobs = {sample.key: encode_image(sample.image, spec) for sample in samples}
    columns = pl.DataFrame(SAMPLES.empty_table()).schema
    rows: list[dict[str, Any]] = [
        sample.row
        | {
            "sample_id": sample.key,
            "encoding": spec.encoding,
            "spec_id": spec.spec_id,
            "length": len(blobs[sample.key]),
            "sha256": hashlib.sha256(blobs[sample.key]).hexdigest(),
        }
        for sample in samples
    ]
    table = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)
    write_shards(table, Kept(blobs), out, spec=spec)
    return out


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("workspace")
    shards = _shard(root / "shards", SPEC, "val", "test")
    torch.manual_seed(0)
    config = apply_overrides(load_preset("sd2", "tiny"), [SHAPE, "adapter_width=16", "clam_heads=2"])
    run = root / "runs" / "fresh"
    start_run(run, config, SPEC)
    save_weights(run / WEIGHTS, config, SPEC, trained_state(build_task(config)))
    return World(run, shards, evaluate(run, shards, replicates=20))


def test_scores_come_first_and_numbers_and_report_beside_them(world: World) -> None:
    folder = evaluation_dir(world.run, world.shards)
    assert folder == world.run / "eval" / world.shards.parent.name
    assert {file.name for file in folder.iterdir()} == {"scores.parquet", "evaluation.json", "report.html"}
    scores = load_scores(folder / "scores.parquet")
    assert scores["split"].value_counts().sort("split").rows() == [("test", 20), ("val", 20)]
    assert scores["predicted_type"].null_count() == 0
    assert np.isin(scores["source"], ["ff++", "celebdf"]).all()
    stored = Evaluation.model_validate_json((folder / "evaluation.json").read_text())
    assert stored == world.evaluation
    assert (stored.run, stored.method) == ("fresh", "sd2")
    assert (stored.headline.reals, stored.headline.fakes) == (2, 8)
    assert stored.headline.protocol.level is Level.VIDEO
    report = (folder / "report.html").read_text()
    assert report.count("data:image/jpeg") == 8 + 2
    assert "method: sd2" in report


def test_the_detector_uses_the_threshold_that_was_fitted(world: World) -> None:
    fitted = load_threshold(world.run)
    assert fitted is not None
    assert fitted == world.evaluation.threshold
    predictor = Predictor.load(world.run)
    assert predictor.threshold == fitted
    assert predictor.run.spec == SPEC


def test_scoring_again_gives_the_same_numbers(world: World) -> None:
    assert evaluate(world.run, world.shards, replicates=20).results == world.evaluation.results


def test_other_crops_than_the_run_was_trained_on_are_refused(world: World, tmp_path: Path) -> None:
    other = _shard(tmp_path / "other", SPEC.model_copy(update={"margin": 2.0}), "test")
    with pytest.raises(SpecMismatch, match=r"margin 1\.3 against 2\.0"):
        evaluate(world.run, other)


def test_an_absent_split_is_a_usage_error(world: World) -> None:
    with pytest.raises(UsageError, match="no train split"):
        evaluate(world.run, world.shards, Split.TRAIN)
