"""What a run logged of its training, as curves to draw."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

POINTS = 60
"""Most points of a curve; where there are more steps, a point is the mean of some."""

_NOT_CURVES = {"event", "step", "epoch", "lr", "samples_per_s", "data_wait", "memory", "skipped"}
_SHARES = {"reward", "agreement", "ended", "idle", "clipped"}
_LENGTHS = {"words", "tokens"}
_NATS = {"entropy", "kl"}

Series = dict[str, tuple[list[float], list[float]]]


class Sheet(NamedTuple):
    """Curves of one unit: what they are, the name of their axis, and (steps, values) by name."""

    name: str
    caption: str
    axis: str
    series: Series


_SHEETS = {
    "loss": ("Training losses.", "loss"),
    "rewards": ("Rewards of a step's explanations, and shares of them.", "mean"),
    "lengths": ("Length of explanations.", "mean per explanation"),
    "nats": ("Entropy of what is written, and divergence from the policy before.", "nats per token"),
    "val": ("Validation during training.", "AUC"),
}


def sheets(log: Path) -> list[Sheet]:
    """Those of `metrics.jsonl`, one object with `event` and `step` a line; none of a run without a log."""
    found: dict[str, Series] = defaultdict(dict)
    for entry in _entries(log):
        for name, value in entry.items():
            if name not in _NOT_CURVES and isinstance(value, int | float):
                sheet = "val" if entry.get("event") == "val" else _sheet_of(name)
                steps, values = found[sheet].setdefault(name, ([], []))
                steps.append(entry["step"])
                values.append(value)
    return [
        Sheet(name, *about, {label: _means(*points) for label, points in found[name].items()})
        for name, about in _SHEETS.items()
        if name in found
    ]


def _entries(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # a run killed while writing leaves a cut last line
        if "step" in entry and entry.get("event", "train") in {"train", "val"}:
            yield entry


def _sheet_of(name: str) -> str:
    if name in _SHARES or name.startswith("reward_"):
        return "rewards"
    return "lengths" if name in _LENGTHS else "nats" if name in _NATS else "loss"


def _means(steps: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Of equal parts, at most `POINTS`."""
    parts = min(len(steps), POINTS)
    cut = [[float(part.mean()) for part in np.array_split(np.array(one), parts)] for one in (steps, values)]
    return cut[0], cut[1]
