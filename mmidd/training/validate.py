"""Validation during training: frame and video AUC on the validation split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from mmidd.evaluation.protocol import Aggregation
from mmidd.training.config import Validation
from mmidd.training.data import eval_batches
from mmidd.training.ranks import Ranks
from mmidd.training.samples import Samples
from mmidd.training.tasks.base import Task

_RULES: dict[Aggregation, Callable[[list[float]], Any]] = {
    Aggregation.MEAN: np.mean,
    Aggregation.MEDIAN: np.median,
    Aggregation.MAX: np.max,
}


class _Frame(NamedTuple):
    video: str
    label: int
    score: float


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
    mine: list[_Frame] = []
    unusable: list[str] = []
    for part in eval_batches(samples, task.size, batch, ranks):
        unusable += part.unusable
        scores = task.score(part.images).fake.tolist()
        mine += map(_Frame, part.video_id, part.label.tolist(), scores)
    on_unusable([why for theirs in ranks.gather(unusable) for why in theirs])
    frames = [frame for theirs in ranks.gather(mine) for frame in theirs]
    return {
        "video_auc": _auc(_videos(frames, protocol.aggregation)),
        "frame_auc": _auc(frames),
    }


def _videos(frames: list[_Frame], rule: Aggregation) -> list[_Frame]:
    videos: dict[str, list[_Frame]] = defaultdict(list)
    for frame in frames:
        videos[frame.video].append(frame)
    return [
        _Frame(video, of[0].label, float(_RULES[rule]([frame.score for frame in of])))
        for video, of in videos.items()
    ]


def _auc(items: list[_Frame]) -> float:
    return float(roc_auc_score([item.label for item in items], [item.score for item in items]))
