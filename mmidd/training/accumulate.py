"""Gradients of a whole batch with encoders that see a micro-batch at a time.

Contrastive losses need every feature of the batch at once. Features are computed without
gradients, the loss is differentiated with respect to them, and each micro-batch is encoded
again to carry its share of that gradient into the weights (GradCache, arXiv 2101.06983).
The result is the gradient of the whole batch, not an average over micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmidd.training.data import Batch
from mmidd.training.tasks.base import Features, LossTerms, Task


def accumulate(
    task: Task[Any],
    encode: Callable[[Batch], Features],
    batch: Batch,
    micro_batch: int,
    seed: int,
    backward: Callable[[Tensor], object],
) -> LossTerms:
    """Add the gradient of the batch's loss to the parameters and return the loss.

    A loss that is not finite is returned before anything is added by the encoders.

    Args:
        task: gives the losses.
        encode: the task's forward, possibly wrapped for precision.
        batch: everything the losses compare.
        micro_batch: samples that pass the encoders at once.
        seed: fixes dropout and the losses' own draws; both encodings of a micro-batch see the
            same dropout.
        backward: differentiates a scalar.
    """
    generator = torch.Generator().manual_seed(seed)
    if micro_batch >= len(batch):
        torch.manual_seed(seed)
        terms = task.losses(encode(batch), batch, generator)
        if terms.total.isfinite():
            backward(terms.total)
        return terms

    starts = range(0, len(batch), micro_batch)

    def encode_part(start: int) -> Features:
        torch.manual_seed(seed + start)
        return encode(batch[start : start + micro_batch])

    with torch.no_grad():
        parts = [encode_part(start) for start in starts]
    leaves = {name: torch.cat([part[name] for part in parts]).requires_grad_() for name in parts[0]}
    terms = task.losses(leaves, batch, generator)
    if not terms.total.isfinite():
        return terms
    backward(terms.total)
    for start in starts:
        products = [
            (x * _gradient(leaves[name], start, len(x))).sum() for name, x in encode_part(start).items()
        ]
        backward(torch.stack(products).sum())
    return terms


def _gradient(leaf: Tensor, start: int, count: int) -> Tensor:
    if leaf.grad is None:
        return torch.zeros_like(leaf[start : start + count])
    return leaf.grad[start : start + count]
