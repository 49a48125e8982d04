"""Evaluate a run: score, fit the threshold on validation, measure, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mmidd.errors import UsageError
from mmidd.evaluation.answers import (
    calibrate_verdicts,
    measure_answers,
    measure_regions,
    measure_verdicts,
)
from mmidd.evaluation.bootstrap import REPLICATES
from mmidd.evaluation.calibration import measure_calibration
from mmidd.evaluation.evidence import EVIDENCE_FILE, load_evidence
from mmidd.evaluation.exhibits import exhibits
from mmidd.evaluation.explanations import measure_explanations
from mmidd.evaluation.localisation import joined, measure_maps, measure_marked
from mmidd.evaluation.look import BATCH, require_talker
from mmidd.evaluation.measuring import Terms, measure_scores
from mmidd.evaluation.protocol import Aggregation, Level, ThresholdRule
from mmidd.evaluation.results import (
    EVALUATION_FILE,
    REPORT_FILE,
    SCORES_FILE,
    Evaluation,
    Threshold,
    save,
)
from mmidd.evaluation.scoring import OnProgress, score_splits
from mmidd.evaluation.simulated import DrawnPairs
from mmidd.evaluation.tables import confusion, items, load_scores, of_split
from mmidd.evaluation.thresholds import run_threshold
from mmidd.preprocess.blend.recipe import RecipeName
from mmidd.schema import Simulated, Split
from mmidd.shards.dataset import ShardDataset, read_rows
from mmidd.shards.samples import Samples
from mmidd.spec import PreprocessSpec
from mmidd.storage import open_folder


@dataclass(frozen=True)
class Subject:
    """What was evaluated on what, by name."""

    run: str
    method: str
    dataset: str
    dataset_sha256: str


def evaluation_dir(run_dir: Path, shards: Path | str, simulated: Sequence[RecipeName] = ()) -> Path:
    """Where an evaluation is written: `RUN/eval/<dataset>`, and `-<recipe>` behind it if simulated."""
    return run_dir / "eval" / "-".join([dataset_name(shards), *simulated])


def dataset_name(shards: Path | str) -> str:
    """The name of a folder or URL, or that of its parent where it is just called `shards`."""
    where = open_folder(shards)
    *_, parent, name = (where.where if where.remote else str(Path(where.where).resolve())).split("/")
    return parent if name == "shards" else name


def evaluate(
    run_dir: Path,
    shards: Path | str,
    split: Split = Split.TEST,
    *,
    device: str = "cpu",
    batch: int = BATCH,
    aggregation: Aggregation = Aggregation.MEAN,
    rule: ThresholdRule = ThresholdRule.BALANCED,
    replicates: int = REPLICATES,
    simulated: Sequence[RecipeName] = (),
    answers: bool = False,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Score a run on a dataset and write scores, numbers and the report.

    Writes `scores.parquet`, `evaluation.json`, `report.html` and, of a run that says more than a score,
    `evidence.parquet` into `evaluation_dir`, and `eval/threshold.json` of the run: fitted on the first
    dataset the run is evaluated on, fitted again only on that dataset, and reused for all others. Simulated
    forgeries leave that file as it is.

    Args:
        run_dir: folder of the trained run.
        shards: folder of shards, a path or URL.
        split: what to report; the validation split is scored too, for the threshold.
        device: torch device.
        batch: crops per call of the detector.
        aggregation: from frames to a video.
        rule: how the threshold is fitted.
        replicates: bootstrap replicates.
        simulated: recipes; instead of the dataset's fakes, every real gets a forgery of one of them.
        answers: a run that talks also writes an answer for every reported frame.
        on_progress: called with (samples done, samples in all).

    Raises:
        UsageError: no run, no shards, nothing in the split, or a run that cannot write answers.
        SpecMismatch: the shards were cropped by another spec than the run was trained with.
    """
    from mmidd.evaluation.report import write_report  # draws with matplotlib
    from mmidd.training.trained import load_run

    reported = ShardDataset(shards, split)
    run = load_run(run_dir, device)
    run.spec.check_shards(reported.spec, run_dir)
    if answers:
        require_talker(run, run.method)
    if not len(reported):
        raise UsageError(f"{shards} has no {split} split; pass another --split or ingest one")
    folder = evaluation_dir(run_dir, shards, simulated)
    data = [_samples(shards, one, simulated) for one in dict.fromkeys([Split.VAL, split])]
    answered = split if answers else None
    file = score_splits(
        run, data, folder / SCORES_FILE, batch=batch, answered=answered, on_progress=on_progress
    )
    scores, evidence = load_scores(file), load_evidence(folder / EVIDENCE_FILE)
    subject = Subject(run_dir.resolve().name, run.method, folder.name, reported.index.samples_sha256)
    threshold = run_threshold(run_dir, folder.name, scores, aggregation, rule, keep=not simulated)
    evaluation = evaluate_scores(
        scores, split, subject, run.spec, threshold, aggregation, replicates, 0, evidence, _left_out(data[-1])
    )
    save(evaluation, folder / EVALUATION_FILE)
    shown = exhibits(run, data[-1], of_split(scores, split), evidence)
    write_report(folder / REPORT_FILE, evaluation, scores, data[-1], run_dir, read_rows(shards), shown)
    return evaluation


def evaluate_scores(
    scores: pl.DataFrame,
    split: Split,
    subject: Subject,
    spec: PreprocessSpec,
    threshold: Threshold,
    aggregation: Aggregation = Aggregation.MEAN,
    replicates: int = REPLICATES,
    seed: int = 0,
    evidence: pl.DataFrame | None = None,
    left_out: Mapping[str, int] | None = None,
) -> Evaluation:
    """Every number of one split of a scores table (see `tables.load_scores`), and of its evidence.

    Raises:
        UsageError: the table has no such split.
        DataError: a video holds real and fake frames.
    """
    chosen = of_split(scores, split)
    if chosen.is_empty():
        raise UsageError(f"the scores hold no {split} split; pass another --split")
    terms = Terms(split, spec, aggregation, replicates, seed)
    more: dict[str, Any] = {}
    if evidence is not None:
        seen = joined(chosen, evidence)
        more = {
            "localisation": measure_maps(seen, terms),
            "marked": measure_marked(seen, terms),
            "verdicts": measure_verdicts(scores, evidence, subject.dataset, threshold.rule, terms),
            "verdict_calibration": calibrate_verdicts(scores, evidence, terms),
            "answers": measure_answers(seen, terms),
            "regions": measure_regions(seen, terms),
            "explanations": measure_explanations(seen, terms),
        }
    return Evaluation(
        run=subject.run,
        method=subject.method,
        dataset=subject.dataset,
        dataset_sha256=subject.dataset_sha256,
        results=measure_scores(chosen, terms, threshold),
        threshold=threshold,
        confusion=confusion(items(chosen, Level.VIDEO, aggregation)),
        replicates=replicates,
        seed=seed,
        calibration=measure_calibration(chosen, terms),
        left_out=dict(left_out or {}),
        **more,
    )


def _samples(shards: Path | str, split: Split, simulated: Sequence[RecipeName]) -> Samples:
    if not simulated:
        return ShardDataset(shards, split)
    originals = ShardDataset(shards, split, Simulated.EXCLUDE)
    return DrawnPairs(originals, simulated) if len(originals) else originals


def _left_out(samples: Samples) -> dict[str, int]:
    return dict(samples.left_out) if isinstance(samples, DrawnPairs) else {}
