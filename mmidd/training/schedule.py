"""The learning-rate schedule as a pure function of the step, so resuming needs no state."""

from __future__ import annotations

import math

from mmidd.training.config import Optim


def lr_factor(step: int, total: int, per_epoch: int, optim: Optim) -> float:
    """Share of the top learning rate at a step: linear warm-up, a hold, then decay to `min_lr`.

    Args:
        step: counted from 0.
        total: steps of the run.
        per_epoch: steps of an epoch.
        optim: cycle length, shares of the cycle, form of the decay, and floor.
    """
    length = min(total, (optim.cycle_epochs or total) * per_epoch) if optim.cycle_epochs else total
    position = step % length
    warm = round(optim.warmup * length)
    if position < warm:
        return (position + 1) / warm
    floor = min(optim.min_lr / optim.lr, 1.0)
    begin = max(warm, round(optim.hold * length))
    share = max(position - begin, 0) / max(length - begin, 1)
    left = 1 - share if optim.decay == "linear" else (1 + math.cos(math.pi * share)) / 2
    return floor + (1 - floor) * left
