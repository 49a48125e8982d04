from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import simplejpeg

from mmidd.errors import UsageError
from mmidd.schema import SAMPLES
from mmidd.shards.writer import write_shards
from mmidd.spec import PreprocessSpec
from mmidd.training.report import SilentReporter
from mmidd.training.train import train
from mmidd.training.trained import load_run
from tests.shards.shard_world import Kept
from tests.training.training_world import small_config

SPEC = PreprocessSpec.model_validate({"size": 48})


def write_world(out: Path, splits: tuple[str, ...] = ("train", "val", "test")) -> Path:
    rng = np.random.default_rng(0)
    blobs: dict[str, bytes] = {}
    rows: list[dict[str, Any]] = []
    for i in range(48):
        key = f"{i:016x}"
        blob = blobs[key] = simplejpeg.encode_jpeg(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8))
        kind = ("REAL", "FS")[i % 2]
        rows.append(
            {"unit_id": "u", "attempt": 0, "status": "ok", "sample_id": key, "source": "ff++"}
            | {"label": "real" if kind == "REAL" else "fake", "type": kind, "video_id": f"v{i // 2}"}
            | {"split": splits[i // 2 % len(splits)], "spec_id": SPEC.spec_id, "encoding": "jpeg"}
            | {"length": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
        )
    types = pl.DataFrame(SAMPLES.empty_table()).schema
    frame = pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=types)
    write_shards(frame, Kept(blobs), out, spec=SPEC)
    return out


def test_shards_become_a_detector_and_test_shards_are_not_opened(tmp_path: Path) -> None:
    shards = write_world(tmp_path / "shards")
    for path in shards.glob("test-*.tar"):
        path.unlink()
    config = small_config("lnclip", "epochs=1")
    result = train(config, shards, tmp_path / "run", SilentReporter())
    assert (result.interrupted, result.steps) == (False, 2)
    run = load_run(tmp_path / "run")
    assert (run.spec, run.config, run.method) == (SPEC, config, "lnclip")
    scores = run.score([np.zeros((64, 64, 3), np.uint8)] * 3)
    assert scores.fake.shape == (3,)
    assert scores.types is None


def test_missing_shards_split_and_captions_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mmidd shard"):
        train(small_config("lnclip"), tmp_path / "none", tmp_path / "run", SilentReporter())
    no_val = write_world(tmp_path / "no-val", ("train", "test"))
    with pytest.raises(UsageError, match="val split"):
        train(small_config("lnclip"), no_val, tmp_path / "run", SilentReporter())
    bare = write_world(tmp_path / "bare")
    with pytest.raises(UsageError, match="mmidd caption"):
        train(small_config("sd2"), bare, tmp_path / "run", SilentReporter())
    assert not (tmp_path / "run").exists(), "nothing is left behind by a run that cannot start"


def test_a_damaged_sample_is_skipped_counted_and_named_with_its_shard(tmp_path: Path) -> None:
    shards = write_world(tmp_path / "shards")
    entry = pl.read_parquet(shards / "samples.parquet").filter(pl.col("split") == "train").row(0, named=True)
    data = bytearray((shards / entry["shard"]).read_bytes())
    data[entry["image_offset"] : entry["image_offset"] + 40] = bytes(40)
    (shards / entry["shard"]).write_bytes(data)
    result = train(small_config("lnclip", "sampling={}"), shards, tmp_path / "run", SilentReporter())
    assert result.unusable == 2, "once in each of two epochs"
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    named = [line["why"] for line in lines if line["event"] == "unusable"]
    assert len(named) == 2
    assert all(entry["shard"] in why and entry["key"] in why for why in named)
