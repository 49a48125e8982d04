"""Features of a dataset: which samples, in which order, and when they are computed again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmidd.errors import DataError, SpecMismatch, UsageError
from mmidd.evaluation.embedding import Embedder, embed, spread
from mmidd.evaluation.evaluate import dataset_name
from mmidd.schema import Simulated, Split
from mmidd.shards.dataset import ShardDataset
from mmidd.spec import PreprocessSpec
from mmidd.training import trained
from mmidd.training.trained import WEIGHTS
from tests.evaluation.evaluation_world import SPEC
from tests.evaluation.test_evaluate_run import _shard as shard

CALLS: list[str] = []


class Colours:
    """A run whose features are the mean colours of the crops."""

    spec = SPEC

    def describe(self, crops: Sequence[NDArray[np.uint8]]) -> Any:
        CALLS.append("describe")
        return SimpleNamespace(
            embedding=torch.from_numpy(
                np.stack([crop.mean(axis=(0, 1)) for crop in crops]).astype(np.float32)
            )
        )


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shard(tmp_path_factory.mktemp("ws") / "shards", SPEC, "train", "test")


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / WEIGHTS).write_bytes(b"weights")
    monkeypatch.setattr(trained, "load_run", lambda *_: Colours())
    CALLS.clear()
    return tmp_path / "run"


def test_rows_and_features_are_of_the_same_samples(shards: Path) -> None:
    data = ShardDataset(shards, Split.TEST, Simulated.EXCLUDE)
    found = embed(Colours(), data, frames=1, batch=3)
    assert len(found.rows) == len(found.values) == 10, "of ten videos of two frames"
    position = {key: index for index, key in enumerate(data.rows["key"])}
    for row, values in zip(found.rows.iter_rows(named=True), found.values, strict=True):
        sample = data[position[row["sample_id"]]]
        np.testing.assert_allclose(values, sample.image.mean(axis=(0, 1)), rtol=1e-6)
        assert row["identity"] == sample.row["identity_ids"][0]
        assert row["label"] == (sample.row["label"] == "fake")
    assert len(embed(Colours(), data, frames=9).values) == 20


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 6), st.randoms())
def test_frames_are_evenly_apart(lengths: list[int], frames: int, random: Any) -> None:
    rows: list[dict[str, Any]] = [
        {"key": f"{video}{99 - at:02d}", "video_id": f"{video}", "frame_index": at}
        for video, length in enumerate(lengths)
        for at in range(length)
    ]
    random.shuffle(rows)
    fixed = {"source": "a", "compression": None, "method": "m", "face_index": 0}
    table = pl.DataFrame([row | fixed for row in rows])
    chosen = spread(table, frames)
    assert chosen == sorted(chosen)
    for video, length in enumerate(lengths):
        places = sorted(
            rows[index]["frame_index"] for index in chosen if rows[index]["video_id"] == f"{video}"
        )
        assert len(places) == min(frames, length)
        assert places[0] == 0
        gaps = np.diff([*places, length])
        assert max(gaps) - min(gaps) <= 1


def test_stills_and_videos_of_other_methods_are_kept_apart() -> None:
    rows = [{"key": key, "video_id": None, "method": "m"} for key in "ab"]
    rows += [{"key": key, "video_id": "v", "method": method} for key, method in zip("cd", "mn", strict=True)]
    fixed = {"source": "a", "compression": None, "frame_index": None, "face_index": 0}
    assert spread(pl.DataFrame([row | fixed for row in rows]), 1) == [0, 1, 2, 3]


def test_features_are_kept_until_weights_samples_or_frames_change(shards: Path, run_dir: Path) -> None:
    first = Embedder(run_dir).of(shards, Split.TEST)
    assert CALLS == ["describe"]
    again = Embedder(run_dir).of(shards, Split.TEST)
    assert CALLS == ["describe"]
    np.testing.assert_array_equal(again.values, first.values)
    assert again.rows.equals(first.rows)
    Embedder(run_dir, frames=1).of(shards, Split.TEST)
    assert len(CALLS) == 2
    (run_dir / WEIGHTS).write_bytes(b"others")
    Embedder(run_dir, frames=1).of(shards, Split.TEST)
    assert len(CALLS) == 3
    other = shard(run_dir.parent / dataset_name(shards) / "shards", SPEC, "val", "test")
    Embedder(run_dir, frames=1).of(other, Split.TEST)
    assert len(CALLS) == 4
    (file,) = (run_dir / "features").iterdir()
    assert file.name == f"{dataset_name(shards)}-test.parquet"


def test_what_cannot_be_computed_is_told(
    shards: Path, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="has no val split to take features of"):
        Embedder(run_dir).of(shards, Split.VAL)
    with pytest.raises(UsageError, match="no_run has no weights"):
        Embedder(tmp_path / "no_run").of(shards, Split.TEST)
    with pytest.raises(SpecMismatch):
        Embedder(run_dir).of(shard(tmp_path / "o", PreprocessSpec(margin=1.5), "test"), Split.TEST)
    file = run_dir / "features" / f"{dataset_name(shards)}-test.parquet"
    file.parent.mkdir()
    file.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="is damaged; remove it"):
        Embedder(run_dir).of(shards, Split.TEST)
    monkeypatch.setattr(np, "isfinite", np.zeros_like)
    with pytest.raises(DataError, match="train the run again"):
        embed(Colours(), ShardDataset(shards, Split.TEST))
