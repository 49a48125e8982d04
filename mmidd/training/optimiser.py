"""The optimiser, and what is done to gradients before its step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mmidd.training.config import Optim
from mmidd.training.tasks.base import Group


def build_optimiser(groups: Sequence[Group], optim: Optim) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum, over the groups; nothing to train is one empty group."""
    parameters = [{"params": group.parameters, "lr": group.lr} for group in groups] or [{"params": []}]
    # Sharded and whole weights cannot share one fused kernel.
    foreach = False if any(isinstance(p, DTensor) for group in groups for p in group.parameters) else None
    if optim.name == "sgd":
        momentum, decay = optim.betas[0], optim.weight_decay
        return torch.optim.SGD(
            parameters, lr=optim.lr, momentum=momentum, weight_decay=decay, foreach=foreach
        )
    return torch.optim.AdamW(
        parameters, lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay, foreach=foreach
    )


def clip_gradient(parameters: Iterable[nn.Parameter], limit: float | None) -> Tensor:
    """Scale the gradient of all parameters to a norm of at most `limit`; gives the norm it had."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = _norm(gradients)
    if limit is not None:
        scale = (limit / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            _local(gradient).mul_(scale)
    return norm


@contextmanager
def uphill(parameters: Iterable[nn.Parameter], radius: float) -> Iterator[None]:
    """Inside, the weights stand where the loss is about highest within `radius` (SAM, arXiv 2010.01412).

    Reads the gradient when entered, and clears it, for that of the place reached.
    """
    moved = [p for p in parameters if p.grad is not None]
    norm = _norm([p.grad for p in moved if p.grad is not None])
    with torch.no_grad():
        before = [_local(p).clone() for p in moved]
        for p in moved:
            if p.grad is not None:
                _local(p).add_(_local(p.grad) * (radius / (norm + 1e-12)))
                p.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for p, start in zip(moved, before, strict=True):
                _local(p).copy_(start)


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all gradients, of which every rank may hold a share."""
    shares = [g.to_local() for g in gradients if isinstance(g, DTensor)]
    norm = torch.nn.utils.get_total_norm([g for g in gradients if not isinstance(g, DTensor)])
    if not shares:
        return norm
    square = torch.nn.utils.get_total_norm(shares).square()
    dist.all_reduce(square)
    return (norm.to(square.device).square() + square).sqrt()


def _local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
