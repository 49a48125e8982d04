"""Patch features of several depths of a vision tower, in the width of the text tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mmidd.errors import UsageError


def block_indices(blocks: int, depths: Sequence[float]) -> list[int]:
    """Indices of the blocks at these shares of the tower; 15, 23, 31 of 32 at 1/2, 3/4 and 1.

    Raises:
        UsageError: two of them are the same block.
    """
    indices = [max(round(depth * blocks), 1) - 1 for depth in depths]
    if len({*indices}) < len(indices):
        raise UsageError(
            f"of {blocks} blocks depths {', '.join(map(str, depths))} name one twice; "
            "set depths further apart, or take a deeper backbone"
        )
    return indices


class PatchFeatures(nn.Module):
    """Normalised images (B, 3, S, S) to unit patch features (B, L, N, D) and image embeddings (B, D).

    The patches are what the blocks put out, without the class token and without a norm, as in the authors'
    release; each depth has a linear layer of its own. The embedding is CLIP's.

    Args:
        visual: open_clip's vision transformer.
        depths: shares of its blocks, L of them.
        width: D, that of text embeddings.
    """

    def __init__(self, visual: VisionTransformer, depths: Sequence[float], width: int) -> None:
        super().__init__()
        self.visual: Any = visual
        self.indices = block_indices(len(self.visual.transformer.resblocks), depths)
        inner = self.visual.ln_post.normalized_shape[0]
        self.project = nn.ModuleList(nn.Linear(inner, width) for _ in self.indices)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and embeddings, float32."""
        out = self.visual.forward_intermediates(images, indices=self.indices, output_fmt="NLC")
        tokens = zip(self.project, out["image_intermediates"], strict=True)
        features = torch.stack([linear(patches) for linear, patches in tokens], dim=1)
        return F.normalize(features.float(), dim=-1), out["image_features"].float()
