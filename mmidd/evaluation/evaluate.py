"""Evaluate a run: score, fit the threshold on validation, measure, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mmidd.errors import SpecMismatch, UsageError
from mmidd.evaluation.bootstrap import REPLICATES, clustered_bootstrap, interval
from mmidd.evaluation.metrics import METRICS, fit_threshold, measure, rank, sweep
from mmidd.evaluation.protocol import Aggregation, Level, Protocol, ThresholdRule
from mmidd.evaluation.results import (
    EVALUATION_FILE,
    FIXED_THRESHOLD,
    REPORT_FILE,
    SCORES_FILE,
    THRESHOLD_FILE,
    Estimate,
    Evaluation,
    Result,
    Threshold,
    load_threshold,
    save,
)
from mmidd.evaluation.scoring import BATCH, OnProgress, score_splits
from mmidd.evaluation.tables import Group, confusion, groups, items, load_scores, of_split
from mmidd.schema import Split
from mmidd.spec import PreprocessSpec
from mmidd.storage import open_folder

FEW_CLUSTERS = 10
"""Below so many clusters of a class an interval is called rough."""


@dataclass(frozen=True)
class Subject:
    """What was evaluated on what, by name."""

    run: str
    method: str
    dataset: str
    dataset_sha256: str


def evaluation_dir(run_dir: Path, shards: Path | str) -> Path:
    """Where an evaluation is written: `RUN/eval/<dataset>`."""
    return run_dir / "eval" / dataset_name(shards)


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
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Score a run on a dataset and write scores, numbers and the report.

    Writes `scores.parquet`, `evaluation.json` and `report.html` into `evaluation_dir`, and
    `eval/threshold.json` of the run: fitted on the first dataset the run is evaluated on,
    fitted again only on that dataset, and reused for all others.

    Args:
        run_dir: folder of the trained run.
        shards: folder of shards, a path or URL.
        split: what to report; the validation split is scored too, for the threshold.
        device: torch device.
        batch: crops per call of the detector.
        aggregation: from frames to a video.
        rule: how the threshold is fitted.
        replicates: bootstrap replicates.
        on_progress: called with (samples done, samples in all).

    Raises:
        UsageError: no run, no shards, or nothing in the split.
        SpecMismatch: the shards were cropped by another spec than the run was trained with.
    """
    from mmidd.evaluation.report import write_report  # draws with matplotlib
    from mmidd.shards.dataset import ShardDataset, read_rows
    from mmidd.training.trained import load_run

    reported = ShardDataset(shards, split)
    run = load_run(run_dir, device)
    _check_spec(run.spec, reported.spec)
    if not len(reported):
        raise UsageError(f"{shards} has no {split} split; pass another --split or ingest one")
    wanted = [reported] if split is Split.VAL else [ShardDataset(shards, Split.VAL), reported]
    folder = evaluation_dir(run_dir, shards)
    scores_file = score_splits(run, wanted, folder / SCORES_FILE, batch=batch, on_progress=on_progress)
    scores = load_scores(scores_file)
    subject = Subject(run_dir.resolve().name, run.method, folder.name, reported.index.samples_sha256)
    threshold = run_threshold(run_dir, folder.name, scores, aggregation, rule)
    evaluation = evaluate_scores(scores, split, subject, run.spec, threshold, aggregation, replicates)
    save(evaluation, folder / EVALUATION_FILE)
    write_report(folder / REPORT_FILE, evaluation, scores, reported, run_dir, read_rows(shards))
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
) -> Evaluation:
    """Every number of one split of a scores table (see `tables.load_scores`).

    Raises:
        UsageError: the table has no such split.
        DataError: a video holds real and fake frames.
    """
    chosen = of_split(scores, split)
    if chosen.is_empty():
        raise UsageError(f"the scores hold no {split} split; pass another --split")
    results = []
    for level in (Level.VIDEO, Level.FRAME):
        for group in groups(items(chosen, level, aggregation)):
            protocol = Protocol(
                level=level,
                aggregation=aggregation,
                frames=spec.frames,
                spec_id=spec.spec_id,
                compression=_compressions(chosen),
                split=split,
                threshold_rule=threshold.rule,
            )
            results.append(measure_group(group, protocol, threshold.at(level), replicates, seed))
    return Evaluation(
        run=subject.run,
        method=subject.method,
        dataset=subject.dataset,
        dataset_sha256=subject.dataset_sha256,
        results=tuple(results),
        threshold=threshold,
        confusion=confusion(items(chosen, Level.VIDEO, aggregation)),
        replicates=replicates,
        seed=seed,
    )


def measure_group(group: Group, protocol: Protocol, threshold: float, replicates: int, seed: int) -> Result:
    """All metrics of a group, with intervals clustered by identity or video."""
    labels, scores = group.items["label"].to_numpy(), group.items["score"].to_numpy()
    clusters = group.items["cluster"].to_numpy()
    reals, fakes = int((labels == 0).sum()), int((labels == 1).sum())
    metrics = {name: Estimate(value=None, low=None, high=None) for name in METRICS}
    if reals and fakes:
        point = measure(sweep(rank(labels, scores)), threshold)
        spread = clustered_bootstrap(
            labels,
            scores,
            clusters,
            lambda curves: measure(curves, threshold),
            replicates=replicates,
            seed=seed,
        )
        metrics = {name: _estimate(float(point[name][0]), interval(spread[name])) for name in METRICS}
    return Result(
        protocol=protocol,
        kind=group.kind,
        name=group.name,
        reals=reals,
        fakes=fakes,
        clusters=group.items["cluster"].n_unique(),
        metrics=metrics,
        note=_note(group, reals, fakes),
    )


def fit(
    scores: pl.DataFrame, dataset: str, aggregation: Aggregation, rule: ThresholdRule
) -> Threshold | None:
    """Thresholds of the validation rows at both levels; None unless both classes are there."""
    val = of_split(scores, Split.VAL)
    if rule is ThresholdRule.FIXED or val["label"].n_unique() < 2:
        return None
    videos, frames = (items(val, level, aggregation) for level in (Level.VIDEO, Level.FRAME))
    return Threshold(
        rule=rule,
        video=fit_threshold(videos["label"].to_numpy(), videos["score"].to_numpy(), rule),
        frame=fit_threshold(frames["label"].to_numpy(), frames["score"].to_numpy(), rule),
        dataset=dataset,
        items=f"{len(videos)} videos, {len(frames)} frames",
    )


def run_threshold(
    run_dir: Path, dataset: str, scores: pl.DataFrame, aggregation: Aggregation, rule: ThresholdRule
) -> Threshold:
    """The run's threshold: fitted now on its own dataset, or the one fitted there before."""
    stored = load_threshold(run_dir)
    if rule is ThresholdRule.FIXED:
        return FIXED_THRESHOLD
    if stored is not None and stored.dataset != dataset:
        return stored
    fitted = fit(scores, dataset, aggregation, rule)
    if fitted is None:
        return FIXED_THRESHOLD
    save(fitted, run_dir / "eval" / THRESHOLD_FILE)
    return fitted


def _check_spec(run: PreprocessSpec, shards: PreprocessSpec) -> None:
    differences = run.differences(shards)
    if differences:
        words = ", ".join(f"{key} {mine} against {theirs}" for key, (mine, theirs) in differences.items())
        raise SpecMismatch(
            f"the run was trained on other crops than these shards hold ({words}); "
            "shard a workspace ingested with the run's spec"
        )


def _estimate(value: float, bounds: tuple[float, float]) -> Estimate:
    low, high = bounds
    return Estimate(value=value, low=_defined(low), high=_defined(high))


def _defined(value: float) -> float | None:
    return None if value != value else value


def _note(group: Group, reals: int, fakes: int) -> str:
    notes = [group.note]
    if not (reals and fakes):
        notes.append(f"undefined: no {'fakes' if reals else 'reals'}")
    else:
        fewest = group.items.group_by("label").agg(pl.col("cluster").n_unique())["cluster"].min()
        if isinstance(fewest, int) and fewest < FEW_CLUSTERS:
            notes.append(f"rough interval: a class has only {fewest} identities or videos")
    return "; ".join(note for note in notes if note)


def _compressions(scores: pl.DataFrame) -> str:
    named = sorted(scores["compression"].drop_nulls().unique())
    unstated = ["unstated"] if scores["compression"].null_count() else []
    return "+".join([*named, *unstated])
