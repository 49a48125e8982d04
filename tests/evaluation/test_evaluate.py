from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, roc_auc_score

from mmidd.errors import UsageError
from mmidd.evaluation.evaluate import Subject, dataset_name, evaluate_scores
from mmidd.evaluation.protocol import Aggregation, Level, ThresholdRule
from mmidd.evaluation.results import FIXED_THRESHOLD, Evaluation, Threshold, load_threshold, save
from mmidd.evaluation.scoring import score_splits
from mmidd.evaluation.tables import load_scores
from mmidd.evaluation.thresholds import fit, run_threshold
from mmidd.schema import Split
from tests.evaluation.evaluation_world import SPEC, FakeRun, FakeSamples

SUBJECT = Subject("run", "sd2", "world", "")
MEAN, BALANCED = Aggregation.MEAN, ThresholdRule.BALANCED


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    out = tmp_path_factory.mktemp("scores") / "scores.parquet"
    return load_scores(score_splits(FakeRun(), [FakeSamples("val", 30, 1), FakeSamples("test", 40, 2)], out))


def _evaluate(scores: pl.DataFrame, threshold: Threshold = FIXED_THRESHOLD) -> Evaluation:
    return evaluate_scores(scores, Split.TEST, SUBJECT, SPEC, threshold, replicates=50)


def test_numbers_are_those_of_the_test_rows_alone(scores: pl.DataFrame) -> None:
    threshold = fit(scores, "world", MEAN, BALANCED)
    assert threshold is not None
    evaluation = _evaluate(scores, threshold)
    frames = scores.filter(pl.col("split") == "test")
    videos = frames.group_by("video_id").agg(pl.col("label").first(), pl.col("score").cast(pl.Float64).mean())
    for level, rows in ((Level.FRAME, frames), (Level.VIDEO, videos)):
        result = evaluation.at(level)[0]
        labels, values = rows["label"].to_numpy(), rows["score"].cast(pl.Float64).to_numpy()
        called = values >= threshold.at(level)
        expected = {
            "auc": roc_auc_score(labels, values),
            "ap": average_precision_score(labels, values),
            "accuracy": accuracy_score(labels, called),
            "balanced_accuracy": balanced_accuracy_score(labels, called),
            "accuracy_at_half": accuracy_score(labels, values >= 0.5),
        }
        for name, value in expected.items():
            assert result.metrics[name].value == pytest.approx(value), (level, name)
        assert (result.reals, result.fakes) == (int((labels == 0).sum()), int((labels == 1).sum()))


def test_the_threshold_is_fitted_on_validation_and_blind_to_test(scores: pl.DataFrame) -> None:
    spoiled = scores.with_columns(
        score=pl.when(pl.col("split") == "test").then(1 - pl.col("score")).otherwise("score")
    )
    fitted = fit(scores, "world", MEAN, BALANCED)
    assert fitted is not None
    assert fitted == fit(spoiled, "world", MEAN, BALANCED)
    assert fitted.rule is BALANCED
    assert fitted.items == "30 videos, 90 frames"


def test_every_number_carries_its_protocol(scores: pl.DataFrame) -> None:
    evaluation = _evaluate(scores)
    assert {result.protocol.level for result in evaluation.results} == {Level.VIDEO, Level.FRAME}
    for result in evaluation.results:
        line = result.protocol.describe()
        for word in (result.protocol.level, "test split", "c23", SPEC.spec_id, "fixed at 0.5"):
            assert word in line
    assert "mean P(fake) of up to 32 frames" in evaluation.headline.protocol.describe()


def test_intervals_hold_their_values_and_wide_ones_are_called_rough(scores: pl.DataFrame) -> None:
    for result in _evaluate(scores).results:
        auc = result.metrics["auc"]
        assert auc.low is not None
        assert auc.value is not None
        assert auc.high is not None
        assert 0 <= auc.low <= auc.value <= auc.high <= 1
        assert ("rough" in result.note) == (result.kind in ("method", "source") or result.reals < 10 * 3), (
            result
        )


def test_one_class_gives_null_and_a_note(scores: pl.DataFrame, tmp_path: Path) -> None:
    evaluation = _evaluate(scores.filter(pl.col("label") == 1))
    assert all(estimate.value is None for estimate in evaluation.headline.metrics.values())
    assert "no reals" in evaluation.headline.note
    save(evaluation, tmp_path / "e.json")
    assert '"value": null' in (tmp_path / "e.json").read_text()


def test_an_evaluation_survives_its_file(scores: pl.DataFrame, tmp_path: Path) -> None:
    evaluation = _evaluate(scores)
    save(evaluation, tmp_path / "e.json")
    assert Evaluation.model_validate_json((tmp_path / "e.json").read_text()) == evaluation
    assert evaluation == _evaluate(scores)


def test_a_run_keeps_the_threshold_of_its_first_dataset(scores: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    assert load_threshold(tmp_path) is None
    first = run_threshold(tmp_path, "world", scores, MEAN, BALANCED)
    assert load_threshold(tmp_path) == first
    shifted = scores.with_columns(score=pl.col("score") / 2)
    assert run_threshold(tmp_path, "elsewhere", shifted, MEAN, BALANCED) == first
    again = run_threshold(tmp_path, "world", shifted, MEAN, BALANCED)
    assert again.video == pytest.approx(first.video / 2, abs=0.02)
    assert load_threshold(tmp_path) == again


def test_without_validation_the_threshold_is_half_and_says_so(scores: pl.DataFrame, tmp_path: Path) -> None:
    test_only = scores.filter(pl.col("split") == "test")
    threshold = run_threshold(tmp_path, "world", test_only, MEAN, BALANCED)
    assert threshold.video == 0.5
    assert "not fitted" in threshold.describe()
    assert load_threshold(tmp_path) is None


def test_a_damaged_threshold_and_an_absent_split_are_usage_errors(
    scores: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "threshold.json").write_text("{}")
    with pytest.raises(UsageError, match="mmidd eval"):
        load_threshold(tmp_path)
    with pytest.raises(UsageError, match="no train split"):
        evaluate_scores(scores, Split.TRAIN, SUBJECT, SPEC, FIXED_THRESHOLD)


def test_a_dataset_is_named_by_its_workspace(tmp_path: Path) -> None:
    assert dataset_name(tmp_path / "faces" / "shards") == "faces"
    assert dataset_name(tmp_path / "celeb") == "celeb"
