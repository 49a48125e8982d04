"""A run that explains: its verdicts at once, after explaining and by vote, and what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from sklearn.metrics import brier_score_loss, roc_auc_score

from mmidd.evaluation.details import details
from mmidd.evaluation.evaluate import Subject, evaluate_scores
from mmidd.evaluation.evidence import EVIDENCE_FILE, load_evidence
from mmidd.evaluation.look import look, require_talker
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.results import FIXED_THRESHOLD, Evaluation
from mmidd.evaluation.scoring import score_splits
from mmidd.evaluation.tables import load_scores
from mmidd.schema import Split
from mmidd.training.rl.chain import read_chain
from tests.evaluation.evaluation_world import SPEC, FakeRun, FakeSamples
from tests.evaluation.kfd_world import MaskedSamples

TEST = MaskedSamples("test")


def text_of(blue: int) -> str:
    if blue % 7 == 0:
        return "I cannot say"
    names = " and ".join(("the nose", "the mouth", "the left eye")[: blue % 4])
    return f"<think>It is {names or 'plain'}.</think><answer>{('Real', 'Fake')[blue % 2]}</answer>"


class Explainer:
    """Writes, and judges, by the crop's blue channel; each further explanation is 0.02 surer of a fake."""

    chains = 3

    def prepare(self, crops: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(crops))

    def explain(self, images: torch.Tensor, chains: int | None = None) -> list[list[Any]]:
        blues = images[:, 0, 0, 2].tolist()
        return [[self._written(blue, number) for number in range(chains or 1)] for blue in blues]

    @staticmethod
    def _written(blue: int, number: int) -> Any:
        text, fake = text_of(blue), 0.9 * blue / 255 + 0.02 * number
        return SimpleNamespace(text=text, chain=read_chain(text), fake=fake, complete=blue % 5 > 0)


class ExplainingRun(FakeRun):
    def __init__(self) -> None:
        super().__init__(types=False)
        self.task = Explainer()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Any]:
    out = tmp_path_factory.mktemp("s") / "scores.parquet"
    file = score_splits(ExplainingRun(), [MaskedSamples("val"), TEST], out, answered=Split.TEST)
    scores, evidence = load_scores(file), load_evidence(file.with_name(EVIDENCE_FILE))
    subject = Subject("run", "ltdd", "world", "")
    found = evaluate_scores(
        scores, Split.TEST, subject, SPEC, FIXED_THRESHOLD, replicates=20, evidence=evidence
    )
    return found, evidence


BLUES = np.array([sample.image[0, 0, 2] for sample in TEST.samples])
LABELS = np.array([sample.row["label"] == "fake" for sample in TEST.samples])
CHAINS = [read_chain(text_of(blue)) for blue in BLUES.tolist()]


def test_every_mode_has_its_verdicts(evaluated: tuple[Evaluation, Any]) -> None:
    evaluation = evaluated[0]
    says = np.array([chain.verdict is not None and chain.verdict.value == "fake" for chain in CHAINS])
    modes = {"explained": 0.9 * BLUES / 255, "voted": 0.9 * BLUES / 255 + 0.02, "written": says.astype(float)}
    assert set(evaluation.verdicts) == set(modes)
    for name, scores in modes.items():
        video, frame = (
            next(one for one in evaluation.verdicts[name] if one.protocol.level is level).metrics["auc"].value
            for level in (Level.VIDEO, Level.FRAME)
        )
        assert frame == pytest.approx(roc_auc_score(LABELS, scores)), name
        assert video == pytest.approx(roc_auc_score(LABELS[::2], scores.reshape(-1, 2).mean(axis=1))), name
    red = [sample.image[..., 0].mean() for sample in TEST.samples]
    direct = evaluation.at(Level.FRAME)[0].metrics["auc"].value
    assert direct == pytest.approx(roc_auc_score(LABELS, red))


def test_modes_that_are_probabilities_are_calibrated_or_not(evaluated: tuple[Evaluation, Any]) -> None:
    found = evaluated[0].verdict_calibration
    assert set(found) == {"explained", "voted"}
    frames = next(one for one in found["voted"] if one.level is Level.FRAME)
    expected = brier_score_loss(LABELS, 0.9 * BLUES / 255 + 0.02)
    assert frames.measures.metrics["brier"].value == pytest.approx(expected, abs=1e-6)


def test_what_was_written_is_stored_and_counted(evaluated: tuple[Evaluation, Any]) -> None:
    evaluation, evidence = evaluated
    assert len(evidence) == 40, "validation is not explained"
    rows = {row["sample_id"]: row for row in evidence.iter_rows(named=True)}
    for sample, blue, chain in zip(TEST.samples, BLUES.tolist(), CHAINS, strict=True):
        row = rows[sample.key]
        assert row["answer"] == (chain.thought or "I cannot say")
        assert row["well_formed"] == chain.well_formed
        assert row["explained"] == pytest.approx(0.9 * blue / 255)
        assert (row["said"] is None) == (chain.verdict is None)
    assert evaluation.explanations is not None
    shares = {name: one.value for name, one in evaluation.explanations.shares.metrics.items()}
    assert shares["well_formed"] == pytest.approx(np.mean([chain.well_formed for chain in CHAINS]))
    assert shares["unparsed"] == pytest.approx(np.mean(BLUES % 7 == 0))
    assert evaluation.explanations.regions["nose"] == np.sum((BLUES % 7 > 0) & (BLUES % 4 > 0))
    assert evaluation.regions[0].items == 20, "of forgeries whose regions are known"


def test_the_terminal_names_the_modes_within_80_columns(evaluated: tuple[Evaluation, Any]) -> None:
    console = Console(width=80, record=True, file=StringIO())
    for part in details(evaluated[0]):
        console.print(part.table())
    text = console.export_text()
    for words in ("direct answer", "after explaining", "mean of several", "no verdict", "name the left eye"):
        assert words in text
    assert "P(yes)" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_it_explains_only_when_asked_to(tmp_path: Path) -> None:
    run = ExplainingRun()
    require_talker(run, "ltdd")
    crops = [TEST[0].image]
    assert not look(run, crops).more_than_scores
    assert look(run, crops, answers=True).more_than_scores
    score_splits(run, [FakeSamples("test", 5, 1)], tmp_path / "scores.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["scores.parquet"]
