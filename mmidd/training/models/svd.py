"""Singular-value residual tuning: CLIP-SVD, known as Effort (arXiv 2411.15633).

A weight is split along its singular directions. The large ones stay frozen, what learns is the
rest as its own small decomposition, so that training moves what the pretrained weight uses least.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.errors import UsageError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


class SvdLinear(nn.Module):
    """A linear layer (..., in) to (..., out) with the frozen weight `main` + `u` diag(`s`) `v`.

    At the start that sum is the layer's own weight. `main` is that weight less its smallest singular triplets
    and follows from it again when a run is loaded, so only the triplets have to be kept.

    Args:
        linear: the layer that it replaces; the bias stays frozen.
        frozen: largest singular triplets that stay in `main`; none is all but one.

    Raises:
        UsageError: `frozen` leaves no triplet to train.
    """

    def __init__(self, linear: nn.Linear, frozen: int | None) -> None:
        super().__init__()
        full = min(linear.weight.shape)
        kept = full - 1 if frozen is None else frozen
        if kept >= full:
            raise UsageError(
                f"svd_rank keeps {kept} of {full} singular triplets, so none is left to train; "
                f"--set svd_rank={full - 1} or less"
            )
        weight = linear.weight.detach()
        u, s, v = torch.linalg.svd(weight.float(), full_matrices=False)
        self.u, self.s, self.v = (nn.Parameter(x.contiguous()) for x in (u[:, kept:], s[kept:], v[kept:]))
        rest = (u[:, kept:] * s[kept:]) @ v[kept:]
        self.main = nn.Parameter(weight - rest, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        rest = F.linear(F.linear(x, self.v) * self.s, self.u)
        return F.linear(x, self.main, self.bias) + rest


def add_svd(model: nn.Module, frozen: int | None) -> nn.Module:
    """Freeze the model and make the q, k, v and out projections of its blocks `SvdLinear`, in place.

    Raises:
        UsageError: it has no such projections, or `frozen` leaves nothing to train.
    """
    model.requires_grad_(False)
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if name in PROJECTIONS and isinstance(child, nn.Linear)
    ]
    if not found:
        raise UsageError("the encoder has no q, k, v and out projections to split; take a CLIP of open_clip")
    for parent, name, child in found:
        setattr(parent, name, SvdLinear(child, frozen))
    return model
