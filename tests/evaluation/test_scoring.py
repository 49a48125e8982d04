from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from mmidd.errors import DataError, StorageError
from mmidd.evaluation import row_file
from mmidd.evaluation.scoring import score_splits
from mmidd.evaluation.tables import load_scores
from mmidd.schema import SCHEMA_VERSION, SCORES
from tests.evaluation.evaluation_world import FakeRun, FakeSamples, FakeScores


class BrokenRun:
    def score(self, crops: Sequence[NDArray[np.uint8]]) -> FakeScores:
        return FakeScores(np.full(len(crops), np.nan, np.float32), None)


def test_every_sample_gets_its_own_score_label_and_identity(tmp_path: Path) -> None:
    val, test = FakeSamples("val", 5, 0), FakeSamples("test", 5, 1)
    run = FakeRun()
    path = score_splits(run, [val, test], tmp_path / "eval" / "scores.parquet", batch=4)
    scores = load_scores(path)
    assert scores["sample_id"].to_list() == [s.key for s in val.samples + test.samples]
    for row, sample in zip(scores.iter_rows(named=True), val.samples + test.samples, strict=True):
        assert row["score"] == pytest.approx(sample.image[0, 0, 0] / 255, abs=1e-6)
        assert row["label"] == int(sample.row["label"] == "fake")
        assert row["identity"] == sample.row["identity_ids"][0]
        assert row["predicted_type"] is not None
    assert max(run.batches) <= 4
    stored = pq.read_schema(path)
    assert stored.names == SCORES.names
    assert stored.metadata[b"mmidd_schema"] == SCHEMA_VERSION.encode()


def test_the_table_does_not_depend_on_batch_or_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = FakeSamples("test", 6, 1)
    whole = load_scores(score_splits(FakeRun(), [data], tmp_path / "a.parquet", batch=100))
    monkeypatch.setattr(row_file, "_ROW_GROUP", 4)
    path = score_splits(FakeRun(), [data], tmp_path / "b.parquet", batch=3)
    assert pq.ParquetFile(path).num_row_groups > 1
    assert load_scores(path).equals(whole)


def test_a_method_without_types_predicts_none(tmp_path: Path) -> None:
    path = score_splits(FakeRun(types=False), [FakeSamples("test", 5, 1)], tmp_path / "s.parquet")
    assert pl.read_parquet(path)["predicted_type"].null_count() == 15


def test_progress_counts_samples_of_all_splits(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = [FakeSamples("val", 2, 0), FakeSamples("test", 3, 1)]
    score_splits(FakeRun(), data, tmp_path / "s.parquet", batch=4, on_progress=lambda *at: seen.append(at))
    assert seen == [(4, 15), (6, 15), (10, 15), (14, 15), (15, 15)]


def test_a_detector_that_gives_no_number_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test000f0"):
        score_splits(BrokenRun(), [FakeSamples("test", 2, 1)], tmp_path / "s.parquet")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        score_splits(FakeRun(), [FakeSamples("test", 2, 1)], tmp_path / "file" / "s.parquet")
