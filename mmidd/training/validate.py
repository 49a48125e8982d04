"""Validation during training: frame and video AUC on the validation split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
from sklearn.metrics import roc_auc_score

from mmidd.evaluation.tables import aggregated
from mmidd.training.config import Validation
from mmidd.training.data import eval_batches
from mmidd.training.ranks import Ranks
from mmidd.training.samples import Samples
from mmidd.training.tasks.base import Task

_FRAME = {"video": pl.String, "label": pl.Int64, "score": pl.Float64}


def validate(
    task: Task[Any],
    samples: Samples,
    protocol: Validation,
    batch: int,
    on_unusable: Callable[[list[str]], None],
    ranks: Ranks | None = None,
) -> dict[str, float]:
    """`video_auc`, with a video's frames aggregated as the protocol says, and `frame_auc`, both in [0, 1].

    Ranks share the samples, and all get the same values. `on_unusable` is told why, of every sample that is
    left out.
    """
    ranks = ranks or Ranks()
    mine: list[tuple[str, int, float]] = []
    unusable: list[str] = []
    with task.evaluating():
        for part in eval_batches(samples, task.size, batch, ranks):
            unusable += part.unusable
            scores = task.score(part.images).fake.tolist()
            mine += zip(part.video_id, part.label.tolist(), scores, strict=True)
    on_unusable([why for theirs in ranks.gather(unusable) for why in theirs])
    rows = [row for theirs in ranks.gather(mine) for row in theirs]
    frames = pl.DataFrame(rows, schema=_FRAME, orient="row")
    score = aggregated(pl.col("score"), protocol.aggregation)
    videos = frames.group_by("video").agg(pl.col("label").first(), score)
    return {"video_auc": _auc(videos), "frame_auc": _auc(frames)}


def _auc(items: pl.DataFrame) -> float:
    return float(roc_auc_score(items["label"], items["score"]))
