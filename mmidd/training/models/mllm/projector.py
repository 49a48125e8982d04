"""From a specialist's features to tokens of a language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Projector(nn.Module):
    """Features (B, K, C) of one or several widths to tokens (B, K, width); features of a width share weights.

    LayerNorm, linear, GELU, linear. The last begins at zero, so that the tokens do.
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.of_width = nn.ModuleDict({str(own): _layers(own, width) for own in sorted({*widths})})
        self.width = width

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Tokens of all features behind each other."""
        return torch.cat([self.of_width[str(one.shape[-1])](one) for one in features], dim=1)


def _layers(own: int, width: int) -> nn.Sequential:
    last = nn.Linear(width, width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(own), nn.Linear(own, width), nn.GELU(), last)
