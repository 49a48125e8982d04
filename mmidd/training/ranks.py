"""What the processes of a run, one per device, say to each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

T = TypeVar("T")

_BUCKET = 1 << 25
"""Values that are averaged at a time."""


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; `rank` counts from 0."""

    rank: int = 0
    count: int = 1

    def gather(self, mine: T) -> list[T]:
        """What every rank gave, in their order; it is pickled."""
        if self.count == 1:
            return [mine]
        everyone: list[Any] = [None] * self.count
        dist.all_gather_object(everyone, mine)
        return everyone

    def join(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all ranks below each other.

        Every rank computes the whole loss from them. The gradient that comes back to a rank's own rows is
        multiplied by the number of ranks, so that the average over ranks is the gradient of that loss.

        Args:
            rows: (n, ...), this rank's.
            counts: rows of every rank.
        """
        if self.count == 1:
            return rows
        joined: Tensor = _Join.apply(rows, counts, self.rank)
        return joined

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients over ranks; those of sharded parameters are averaged already."""
        if self.count == 1:
            return
        mine = [p.grad for p in parameters if p.grad is not None and not isinstance(p.grad, DTensor)]
        for gradients in _buckets(mine):
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            flat /= self.count
            parts = torch.split_with_sizes(flat, [gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.count > 1:
            dist.barrier()


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Sequence[int], rank: int) -> Tensor:
        ctx.own, ctx.count = slice(sum(counts[:rank]), sum(counts[: rank + 1])), len(counts)
        padded = F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, max(counts) - len(rows)))
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.own] * ctx.count, None, None


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type together, as many as fit."""
    bucket: list[Tensor] = []
    for tensor in sorted(tensors, key=lambda tensor: str(tensor.dtype)):
        full = sum(other.numel() for other in bucket) + tensor.numel() > _BUCKET
        if bucket and (full or bucket[0].dtype is not tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
