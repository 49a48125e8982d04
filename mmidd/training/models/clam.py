"""CLAM: class tokens of every layer, attended over layers, mapped to the text space.

SD2, OpenReview hNd5L7WnjC. Layer tokens pass CLIP's own post-LayerNorm first, because
raw class-token norms differ strongly between blocks.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn


def layer_tokens(
    visual: Any, images: Tensor, norm: Literal["post", "none"] = "post"
) -> tuple[Tensor, Tensor]:
    """Class tokens of all blocks, (B, L, width), and patches of the last one, (B, N, width), as they are.

    The last class token is always post-normalised, as CLIP's final one.

    Args:
        visual: open_clip's vision tower.
        images: normalised, (B, 3, S, S).
        norm: `post` passes every layer's token through CLIP's own last LayerNorm.
    """
    out = visual.forward_intermediates(
        images, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
    )
    tokens, patches = torch.cat(out["image_intermediates_prefix"], dim=1), out["image_intermediates"][-1]
    if norm == "post":
        return visual.ln_post(tokens), patches
    return torch.cat([tokens[:, :-1], visual.ln_post(tokens[:, -1:])], dim=1), patches


class Clam(nn.Module):
    """Layer attention and adapter: (B, L, width) class tokens to (B, embed_dim) features.

    `literal`: W2·GELU(W1·[mean of attended tokens, final token]). `residual`: the given CLIP
    projection plus that term with W2 zero at the start, so that training starts from CLIP.

    Args:
        width: token width.
        embed_dim: width of the text space.
        heads: attention heads over layers; none leaves all layers but the last out.
        hidden: adapter width.
        mode: see above.
    """

    def __init__(
        self, width: int, embed_dim: int, heads: int | None, hidden: int, mode: Literal["literal", "residual"]
    ) -> None:
        super().__init__()
        self.mode = mode
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True) if heads else None
        inner = 2 * width if heads else width
        self.adapter = nn.Sequential(nn.Linear(inner, hidden), nn.GELU(), nn.Linear(hidden, embed_dim))
        if mode == "residual":
            nn.init.zeros_(self.adapter[2].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.adapter[2].bias)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor, projection: Tensor) -> Tensor:
        """Features (B, embed_dim), not normalised; `projection` is CLIP's (width, embed_dim)."""
        final = seen = tokens[:, -1]
        if self.attention is not None:
            attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
            seen = torch.cat([attended.mean(dim=1), final], dim=-1)
        out: Tensor = self.adapter(seen)
        return out + final @ projection if self.mode == "residual" else out
