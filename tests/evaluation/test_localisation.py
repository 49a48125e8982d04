"""Localisation, verdicts and regions of an evaluation against counting by hand and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    jaccard_score,
    precision_recall_fscore_support,
    roc_auc_score,
)
from sklearn.preprocessing import MultiLabelBinarizer

from mmidd.dialogue.reading import named_regions
from mmidd.errors import UsageError
from mmidd.evaluation.bootstrap import interval, resampled_sums
from mmidd.evaluation.evaluate import Subject, evaluate_scores
from mmidd.evaluation.evidence import EVIDENCE_FILE, load_evidence
from mmidd.evaluation.look import Scorer, require_talker
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.results import FIXED_THRESHOLD, Evaluation, save
from mmidd.evaluation.scoring import score_splits
from mmidd.evaluation.tables import load_scores
from mmidd.schema import Split
from tests.evaluation.evaluation_world import SPEC, FakeRun, FakeSamples
from tests.evaluation.kfd_world import REGIONS, MapRun, MaskedSample, MaskedSamples, TalkingRun

TEST = MaskedSamples("test")
FORGED = [sample for sample in TEST.samples if sample.mask is not None]


def evaluated(run: Scorer, folder: Path, answered: Split | None = None) -> tuple[Evaluation, pl.DataFrame]:
    file = score_splits(
        run, [MaskedSamples("val"), TEST], folder / "scores.parquet", batch=7, answered=answered
    )
    evidence = load_evidence(folder / EVIDENCE_FILE)
    assert evidence is not None
    subject = Subject("run", "kfd", "world", "")
    found = evaluate_scores(
        load_scores(file), Split.TEST, subject, SPEC, FIXED_THRESHOLD, replicates=40, evidence=evidence
    )
    return found, evidence


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluated(MapRun(), tmp_path_factory.mktemp("marked"))[0]


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, pl.DataFrame]:
    return evaluated(TalkingRun(), tmp_path_factory.mktemp("talked"), Split.TEST)


def pixels(sample: MaskedSample) -> tuple[np.ndarray, np.ndarray]:
    assert sample.mask is not None
    return sample.mask.ravel() >= 77, sample.image[..., 1].ravel() / np.float32(255)


@pytest.mark.parametrize("name", ["all", "FE", "regional-alpha", "regional-poisson"])
def test_overlap_is_the_mean_over_forgeries_and_pixel_auc_pools_them(marked: Evaluation, name: str) -> None:
    (found,) = [one for one in marked.localisation if one.name == name]
    chosen = [pixels(s) for s in FORGED if name in ("all", s.row["type"], s.row["method"])]
    truth, chance = np.stack([t for t, _ in chosen]), np.stack([c for _, c in chosen])
    expected = {
        "iou": np.mean([jaccard_score(t, c >= 0.5) for t, c in chosen]),
        "dice": np.mean([f1_score(t, c >= 0.5) for t, c in chosen]),
        "image_auc": np.mean([roc_auc_score(t, c) for t, c in chosen]),
        "pixel_auc": roc_auc_score(truth.ravel(), chance.ravel()),
    }
    assert (found.items, found.clusters) == (len(chosen), 5)
    for metric, value in expected.items():
        estimate = found.metrics[metric]
        assert estimate.value == pytest.approx(value, abs=2e-3), metric
        assert estimate.value is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
    assert "only 5" in found.note


def test_of_reals_the_share_that_is_called_forged(marked: Evaluation) -> None:
    shares = [(s.image[..., 1] / np.float32(255) >= 0.5).mean() for s in TEST.samples if s.mask is None]
    assert marked.marked is not None
    assert marked.marked.items == len(shares) == 20
    assert marked.marked.metrics["share"].value == pytest.approx(np.mean(shares))


def test_intervals_draw_people_not_frames(marked: Evaluation) -> None:
    people = sorted({s.row["identity_ids"][0] for s in FORGED})
    of = {
        p: [
            jaccard_score(t, c >= 0.5) for s in FORGED for t, c in [pixels(s)] if s.row["identity_ids"] == [p]
        ]
        for p in people
    }
    rng = np.random.default_rng(0)
    drawn = [[people[i] for i in rng.integers(5, size=5)] for _ in range(40)]
    expected = np.quantile([np.mean([v for p in row for v in of[p]]) for row in drawn], [0.025, 0.975])
    iou = marked.localisation[0].metrics["iou"]
    assert (iou.low, iou.high) == pytest.approx(tuple(expected), abs=1e-6)


def test_sums_are_drawn_by_cluster() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    sums = resampled_sums(values, ["a", "a", "b"], replicates=500, seed=1)
    assert sums.shape == (500, 2)
    assert {tuple(row) for row in sums.tolist()} == {(6.0, 60.0), (7.0, 70.0), (8.0, 80.0)}
    assert interval(sums[:, 0]) == (6, 8)


def test_the_detector_is_measured_beside_the_text(talked: tuple[Evaluation, pl.DataFrame]) -> None:
    evaluation = talked[0]
    labels = np.array([s.row["label"] == "fake" for s in TEST.samples])
    blue = np.array([s.image[0, 0, 2] for s in TEST.samples])
    videos = labels[::2]
    for name, scores in {"detector": blue / 255, "written": (blue % 3 == 0).astype(float)}.items():
        results = evaluation.verdicts[name]
        frame = next(r for r in results if r.protocol.level is Level.FRAME).metrics
        video = results[0].metrics
        assert frame["auc"].value == pytest.approx(roc_auc_score(labels, scores))
        assert frame["ap"].value == pytest.approx(average_precision_score(labels, scores))
        assert video["auc"].value == pytest.approx(roc_auc_score(videos, scores.reshape(-1, 2).mean(axis=1)))
        assert video["auc"].low is not None
    soft = [s.image[0, 0, 0] for s in TEST.samples]
    assert evaluation.at(Level.FRAME)[0].metrics["auc"].value == pytest.approx(roc_auc_score(labels, soft))


def test_the_answers_are_a_cross_check(talked: tuple[Evaluation, pl.DataFrame]) -> None:
    blue = np.array([s.image[0, 0, 2] for s in TEST.samples])
    yes = np.array([s.image[0, 0, 0] for s in TEST.samples]) / 255 >= 0.5
    labelled = blue % 3 < 2
    answers = talked[0].answers
    assert answers is not None
    assert answers.items == 40
    assert answers.metrics["unlabelled"].value == pytest.approx(np.mean(~labelled))
    assert answers.metrics["cut"].value == pytest.approx(np.mean(blue % 5 == 0))
    agree = ((blue % 3 == 0) == yes)[labelled].mean()
    assert answers.metrics["agreement"].value == pytest.approx(agree)


def test_named_regions_are_scored_as_scikit_learn_does(talked: tuple[Evaluation, pl.DataFrame]) -> None:
    evaluation, evidence = talked
    answers = dict(evidence.select("sample_id", "answer").iter_rows())
    binary = MultiLabelBinarizer(classes=REGIONS)
    truth = binary.fit_transform([s.row["regions"] for s in FORGED])
    named = binary.transform([named_regions(answers[s.key]) for s in FORGED])
    found = evaluation.regions[0]
    assert (found.name, found.items) == ("all", 20)
    for average, prefix in (("micro", ""), ("samples", "image_")):
        expected = precision_recall_fscore_support(truth, named, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            assert found.metrics[prefix + name].value == pytest.approx(value), prefix + name


def test_everything_is_stored_per_sample(talked: tuple[Evaluation, pl.DataFrame], tmp_path: Path) -> None:
    evaluation, evidence = talked
    assert len(evidence) == 80, "validation and test"
    rows = {row["sample_id"]: row for row in evidence.iter_rows(named=True)}
    for sample in TEST.samples:
        row, blue = rows[sample.key], sample.image[0, 0, 2]
        assert row["detector"] == pytest.approx(blue / 255)
        assert row["said"] == {0: 1, 1: 0, 2: None}[blue % 3]
        assert row["named"] == list(named_regions(row["answer"]))
        assert row["regions"] == sample.row["regions"]
        assert (row["iou"] is None) == (sample.mask is None) == (row["forged"] is None)
    assert evidence.filter(pl.col("sample_id").str.starts_with("val"))["answer"].null_count() == 40
    save(evaluation, tmp_path / "e.json")
    assert Evaluation.model_validate_json((tmp_path / "e.json").read_text()) == evaluation


def test_a_run_that_says_no_more_than_a_score_leaves_no_evidence(tmp_path: Path) -> None:
    evaluated(MapRun(), tmp_path)
    score_splits(FakeRun(), [FakeSamples("test", 5, 1)], tmp_path / "scores.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["scores.parquet"]
    assert load_evidence(tmp_path / EVIDENCE_FILE) is None


def test_an_older_evaluation_is_still_read(marked: Evaluation) -> None:
    new = {"calibration", "left_out", "localisation", "marked", "verdicts", "answers", "regions"}
    new |= {"verdict_calibration", "explanations"}
    old = Evaluation.model_validate_json(marked.model_dump_json(exclude=new))
    assert (old.results, old.localisation, old.verdicts) == (marked.results, (), {})


def test_something_else_is_no_table_of_evidence(tmp_path: Path) -> None:
    pl.DataFrame({"sample_id": ["a"]}).write_parquet(tmp_path / EVIDENCE_FILE)
    with pytest.raises(UsageError, match="no table of evidence"):
        load_evidence(tmp_path / EVIDENCE_FILE)


def test_a_run_that_cannot_talk_writes_no_answers() -> None:
    require_talker(TalkingRun(), "kfd-llm")
    with pytest.raises(UsageError, match="a run of kfd writes no answers; leave --answers out"):
        require_talker(MapRun(), "kfd")
