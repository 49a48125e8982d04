"""Gradients of a whole batch with encoders that see a micro-batch at a time, on any number of ranks.

Contrastive losses need every feature of the batch at once. Features are computed without
gradients, the loss is differentiated with respect to them, and each micro-batch is encoded
again to carry its share of that gradient into the weights (GradCache, arXiv 2101.06983).
The result is the gradient of the whole batch, not an average over micro-batches or ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmidd.training.data import Batch
from mmidd.training.ranks import Ranks
from mmidd.training.tasks.base import Features, LossTerms, Task


def accumulate(
    task: Task[Any],
    encode: Callable[[Batch], Features],
    batch: Batch,
    micro_batch: int,
    seed: int,
    backward: Callable[[Tensor], object],
    ranks: Ranks | None = None,
) -> LossTerms:
    """Add the gradient of the batch's loss to the parameters and return the loss.

    A loss that is not finite is returned before anything is added. With several ranks, the gradient is that
    of all their batches when `Ranks.average` has followed.

    Args:
        task: gives the losses.
        encode: the task's forward, possibly wrapped for precision.
        batch: this rank's samples.
        micro_batch: samples that pass the encoders at once.
        seed: fixes dropout and the losses' own draws; both encodings of a micro-batch see the
            same dropout.
        backward: differentiates a scalar.
        ranks: none is this process alone.
    """
    ranks = ranks or Ranks()
    everyone = _everyone(batch, ranks)
    counts = [len(part) for part in everyone]
    parts = batch.split(-(-max(counts) // micro_batch))
    first = sum(counts[: ranks.rank])

    def encode_part(number: int) -> Features:
        torch.manual_seed(seed + first + number)
        return encode(parts[number])

    if len(parts) == 1:
        features = encode_part(0)
    else:
        with torch.no_grad():
            cached = [encode_part(number) for number in range(len(parts))]
        features = {name: torch.cat([part[name] for part in cached]).requires_grad_() for name in cached[0]}
    joined = {name: ranks.join(rows, counts) for name, rows in features.items()}
    terms = task.losses(joined, Batch.joined(everyone), torch.Generator().manual_seed(seed))
    if not terms.total.isfinite():
        return terms
    backward(terms.total)
    if len(parts) > 1:
        start = 0
        for number, part in enumerate(parts):
            again = {name: x for name, x in encode_part(number).items() if x.requires_grad}
            products = [(x * _gradient(features[name], start, len(x))).sum() for name, x in again.items()]
            if products:
                backward(torch.stack(products).sum())
            start += len(part)
    return terms


def _everyone(batch: Batch, ranks: Ranks) -> list[Batch]:
    """What the losses read of every rank's batch."""
    if ranks.count == 1:
        return [batch]
    mine = batch.without_images().to(torch.device("cpu"))
    return [theirs.to(batch.label.device) for theirs in ranks.gather(mine)]


def _gradient(leaf: Tensor, start: int, count: int) -> Tensor:
    if leaf.grad is None:
        return torch.zeros_like(leaf[start : start + count])
    return leaf.grad[start : start + count]
