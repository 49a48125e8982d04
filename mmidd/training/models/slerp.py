"""Spherical interpolation between features of one class (LNCLIP-DF, arXiv 2508.06248)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

_PARALLEL = 1 - 1e-6


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points at share `t` of the great arc from `a` to `b`.

    Computed in float32 whatever autocast says: in bfloat16 a clamped cosine rounds to 1.
    (Anti)parallel pairs have no unique arc and give `a`.

    Args:
        a: unit vectors (n, d).
        b: unit vectors (n, d).
        t: shares in [0, 1], (n,).
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b, t = a.float(), b.float(), t.float().unsqueeze(-1)
        dot = (a * b).sum(-1, keepdim=True)
        theta = dot.clamp(-_PARALLEL, _PARALLEL).arccos()
        arc = (torch.sin((1 - t) * theta) * a + torch.sin(t * theta) * b) / torch.sin(theta)
        return F.normalize(torch.where(dot.abs() > _PARALLEL, a, arc), dim=-1)


def augment(
    z: Tensor,
    labels: Tensor,
    mode: Literal["expand", "replace"],
    k: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Latent augmentation between features of equal label.

    `expand` appends k-1 rounds of interpolated copies, so n features become k·n;
    `replace` puts one interpolation in place of every feature.

    Args:
        z: unit vectors (n, d).
        labels: integers (n,).
        mode: see above.
        k: expansion factor, at least 1.
        generator: CPU generator of partners and shares.
    """
    if mode == "replace":
        return _round(z, labels, generator), labels
    rounds = [_round(z, labels, generator) for _ in range(k - 1)]
    return torch.cat([z, *rounds]), labels.repeat(k)


def _round(z: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    partner = torch.arange(len(z), device=z.device)
    for label in set(labels.tolist()):
        members = (labels == label).nonzero().squeeze(-1)
        shuffled = torch.randperm(len(members), generator=generator).to(z.device)
        partner[members] = members[shuffled]
    return slerp(z, z[partner], torch.rand(len(z), generator=generator).to(z.device))
