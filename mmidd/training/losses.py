"""Losses of the detectors, in float32.

The contrastive ones take unit vectors of shape (n, d) and return a scalar. Formulas: LNCLIP-DF,
arXiv 2508.06248 (alignment, uniformity), SD2, OpenReview hNd5L7WnjC (the next three), and KFD,
arXiv 2503.14853 (Dice, focal).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def alignment(z: Tensor, labels: Tensor) -> Tensor:
    """Mean squared distance over pairs i<j of equal label; 0 without such a pair."""
    squared, i, j = _pairs(z)
    same = labels[i] == labels[j]
    return (squared * same).sum() / same.sum().clamp(min=1)


def uniformity(z: Tensor) -> Tensor:
    """Log of the mean Gaussian potential exp(-2 d²) over all pairs i<j; 0 without a pair."""
    squared, _, _ = _pairs(z)
    if not squared.numel():
        return z.sum() * 0
    return squared.mul(-2).exp().mean().log()


def type_classification(f: Tensor, types: Tensor, u: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of images `f` (n, d) against class texts `u` (5, d), mean over the batch."""
    return F.cross_entropy(scale * f @ u.T, types)


def label_separation(u: Tensor) -> Tensor:
    """Squared Frobenius norm of the class texts' cosine matrix minus identity."""
    return (u @ u.T - torch.eye(len(u), device=u.device)).square().sum()


def sigmoid_contrast(
    f: Tensor, d: Tensor, scale: Tensor, bias: Tensor, ignore: Tensor | None = None
) -> Tensor:
    """Pairwise sigmoid loss of images and their texts, sum over pairs divided by the batch.

    Args:
        f: images (n, d).
        d: texts (n, d); text i belongs to image i.
        scale: positive temperature, scalar.
        bias: added to every logit, scalar.
        ignore: (n, n) booleans of pairs that count neither as match nor as mismatch.
    """
    sign = 2 * torch.eye(len(f), device=f.device) - 1
    terms = -F.logsigmoid(sign * (scale * f @ d.T + bias))
    if ignore is not None:
        terms = terms.masked_fill(ignore, 0.0)
    return terms.sum() / len(f)


def dice(p: Tensor, target: Tensor) -> Tensor:
    """Of every image 1 - (2 sum pt + 1) / (sum p + sum t + 1), (n,).

    Args:
        p: (n, H, W), probability that a pixel is forged.
        target: (n, H, W) in [0, 1].
    """
    common, both = (p * target).sum((1, 2)), (p + target).sum((1, 2))
    return 1 - (2 * common + 1) / (both + 1)


def focal(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Mean over pixels of -(1 - p)^gamma log p, p being that of the pixel's own class (arXiv 1708.02002).

    Args:
        logits: (n, classes, H, W).
        target: (n, H, W) int64, the class.
        gamma: 0 is cross-entropy.
    """
    log_p = -F.cross_entropy(logits, target, reduction="none")
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def _pairs(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    i, j = torch.triu_indices(len(z), len(z), offset=1, device=z.device)
    squared = (2 - 2 * z @ z.T).clamp(min=0)
    return squared[i, j], i, j
