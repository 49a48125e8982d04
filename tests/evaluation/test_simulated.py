"""Forgeries drawn for the evaluation: with masks and names, and none of the reals that give none is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmidd.dialogue.finding import REGIONS
from mmidd.errors import UsageError
from mmidd.evaluation.evidence import load_evidence
from mmidd.evaluation.scoring import score_splits
from mmidd.evaluation.simulated import DrawnPairs
from mmidd.evaluation.tables import load_scores
from mmidd.schema import Split
from tests.evaluation.kfd_world import MapRun
from tests.training.test_training_online import faces


def test_each_real_comes_with_a_forgery_of_its_own() -> None:
    pairs = DrawnPairs(faces(Split.TEST, 3), ["regional"])
    assert len(pairs) == 6
    for index in range(6):
        sample = pairs[index]
        assert sample.key == pairs.rows["key"][index]
        if index % 2:
            assert sample.mask is not None
            assert sample.mask.max() > 200
            assert set(sample.row["regions"]) <= set(REGIONS)
            assert sample.row["regions"]
            assert sample.row["method"] in ("regional-alpha", "regional-poisson")
            assert not np.array_equal(sample.image, pairs[index - 1].image)
        else:
            assert sample.mask is None
            assert sample.row["label"] == "real"
    assert pairs.left_out == {}


def test_the_same_forgeries_are_drawn_every_time() -> None:
    first, again = (DrawnPairs(faces(Split.TEST, 2), ["regional"])[1] for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert first.row["regions"] == again.row["regions"]


def test_a_real_that_gives_no_forgery_is_counted_and_the_others_are_scored(tmp_path: Path) -> None:
    pairs = DrawnPairs(faces(Split.TEST, 4, bare=1, damaged=1), ["sbi"])
    file = score_splits(MapRun(), [pairs], tmp_path / "scores.parquet", batch=3)
    scores, evidence = load_scores(file), load_evidence(tmp_path / "evidence.parquet")
    assert scores["label"].to_list() == [0, 1, 0, 1]
    assert scores["method"].to_list() == [None, "sbi", None, "sbi"]
    assert evidence is not None
    assert evidence.filter(pl.col("iou").is_not_null()).height == 2
    assert dict(pairs.left_out) == {"no_landmarks": 1, "degenerate_hull": 1}


def test_without_landmarks_there_is_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="no real sample of the test split has landmarks"):
        DrawnPairs(faces(Split.TEST, 2, bare=2), ["sbi"])
