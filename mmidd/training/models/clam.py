"""CLAM: class tokens of every layer, attended over layers, mapped to the text space.

SD2, OpenReview hNd5L7WnjC. Layer tokens pass CLIP's own post-LayerNorm first, because
raw class-token norms differ strongly between blocks.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn


def layer_tokens(visual: Any, images: Tensor) -> Tensor:
    """Post-normalised class tokens of all blocks, (B, L, width); the last is CLIP's final one."""
    out = visual.forward_intermediates(
        images, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
    )
    tokens: Tensor = visual.ln_post(torch.cat(out["image_intermediates_prefix"], dim=1))
    return tokens


class Clam(nn.Module):
    """Layer attention and adapter: (B, L, width) class tokens to (B, embed_dim) features.

    `literal`: W2·GELU(W1·[mean of attended tokens, final token]). `residual`: the given CLIP
    projection plus that term with W2 zero at the start, so that training starts from CLIP.

    Args:
        width: token width.
        embed_dim: width of the text space.
        heads: attention heads over layers.
        hidden: adapter width.
        mode: see above.
    """

    def __init__(
        self, width: int, embed_dim: int, heads: int, hidden: int, mode: Literal["literal", "residual"]
    ) -> None:
        super().__init__()
        self.mode = mode
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.adapter = nn.Sequential(nn.Linear(2 * width, hidden), nn.GELU(), nn.Linear(hidden, embed_dim))
        if mode == "residual":
            nn.init.zeros_(self.adapter[2].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.adapter[2].bias)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor, projection: Tensor) -> Tensor:
        """Features (B, embed_dim), not normalised; `projection` is CLIP's (width, embed_dim)."""
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        final = tokens[:, -1]
        out: Tensor = self.adapter(torch.cat([attended.mean(dim=1), final], dim=-1))
        return out + final @ projection if self.mode == "residual" else out
