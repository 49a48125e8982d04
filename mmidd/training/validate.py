"""Validation during training: frame and video AUC on the validation split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from mmidd.training.data import eval_batches
from mmidd.training.samples import Samples
from mmidd.training.tasks.base import Task


def validate(
    task: Task[Any], samples: Samples, batch: int, on_unusable: Callable[[str], None]
) -> dict[str, float]:
    """`video_auc` (mean P(fake) over a video's frames) and `frame_auc`, both in [0, 1].

    `on_unusable` is told why, for every sample that is left out.
    """
    scores: list[float] = []
    labels: list[int] = []
    videos: dict[str, list[int]] = defaultdict(list)
    for part in eval_batches(samples, task.size, batch):
        for why in part.unusable:
            on_unusable(why)
        for video, label, score in zip(part.video_id, part.label, task.score(part.images).fake, strict=True):
            videos[video].append(len(scores))
            labels.append(int(label))
            scores.append(float(score))
    of_videos = [float(np.mean([scores[i] for i in frames])) for frames in videos.values()]
    video_labels = [labels[frames[0]] for frames in videos.values()]
    return {
        "video_auc": float(roc_auc_score(video_labels, of_videos)),
        "frame_auc": float(roc_auc_score(labels, scores)),
    }
