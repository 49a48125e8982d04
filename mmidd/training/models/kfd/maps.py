"""Where an image agrees with texts or with another image: two channels, like the real and like the fake."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 100.0
"""Of all similarities: what CLIP's own temperature is trained to (arXiv 2103.00020, 2.5)."""


def text_maps(features: Tensor, texts: Tensor, size: int) -> Tensor:
    """Similarity of every patch to every text, 100 F_vis F_text', bilinear with corners aligned.

    Args:
        features: unit, (B, L, N, D); N is a square.
        texts: unit, (2, D).
        size: side S of the maps in pixels.

    Returns:
        (B, L, 2, S, S).
    """
    return _enlarged(SCALE * features @ texts.T, size)


def reference_maps(features: Tensor, pristine: Tensor, size: int) -> Tensor:
    """100 [cos, 1 - cos] of every patch and that in its place in the pristine image.

    The paper's C_ref is one cosine where the locator takes two channels; so a pristine image gives 100 and 0
    everywhere, like what is real.

    Args:
        features: unit, (B, L, N, D).
        pristine: the same of the pristine images.
        size: side S of the maps in pixels.

    Returns:
        (B, L, 2, S, S).
    """
    cosine = (features * pristine).sum(dim=-1)
    return _enlarged(SCALE * torch.stack([cosine, 1 - cosine], dim=-1), size)


def _enlarged(patches: Tensor, size: int) -> Tensor:
    """(B, L, N, 2) to (B, L, 2, S, S)."""
    batch, layers, places, channels = patches.shape
    side = math.isqrt(places)
    grids = patches.transpose(2, 3).reshape(batch * layers, channels, side, side)
    large = F.interpolate(grids, (size, size), mode="bilinear", align_corners=True)
    return large.view(batch, layers, channels, size, size)
