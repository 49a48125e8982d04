"""Training logs as curves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmidd.evaluation.curves import POINTS, sheets


def test_what_has_one_unit_is_drawn_together(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    entries = [
        {"event": "train", "step": 1, "total": 2.0, "lr": 0.1, "form": 2.0},
        {
            "event": "train",
            "step": 2,
            "total": 1.0,
            "reward": 0.5,
            "reward_label": 1,
            "words": 7,
            "entropy": 0.2,
        },
        {"event": "val", "step": 2, "video_auc": 0.75},
        {"event": "unusable", "step": 2, "reason": "damaged", "count": 3},
    ]
    log.write_text("\n".join(map(json.dumps, entries)) + '\n{"event": "train", "st')
    found = {sheet.name: sheet.series for sheet in sheets(log)}
    assert found == {
        "loss": {"total": ([1, 2], [2, 1]), "form": ([1], [2])},
        "rewards": {"reward": ([2], [0.5]), "reward_label": ([2], [1])},
        "lengths": {"words": ([2], [7])},
        "nats": {"entropy": ([2], [0.2])},
        "val": {"video_auc": ([2], [0.75])},
    }


def test_many_steps_become_means(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    count = 10 * POINTS
    log.write_text("\n".join(json.dumps({"step": step, "total": step % 10}) for step in range(count)))
    (sheet,) = sheets(log)
    steps, values = sheet.series["total"]
    assert len(steps) == len(values) == POINTS
    assert steps[:2] == [4.5, 14.5]
    assert values == pytest.approx([4.5] * POINTS)


def test_a_run_without_a_log_has_none(tmp_path: Path) -> None:
    assert sheets(tmp_path / "metrics.jsonl") == []
