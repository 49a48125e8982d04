"""Token sequences with places for embeddings, and how they stand side by side in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

IGNORE = -100
IMAGE, FORGERY = -1, -2
"""In place of tokens: one image token; forgery tokens, as many as the prompt learner makes."""


@dataclass(frozen=True)
class Encoded:
    """Tokens and places, and what is to be predicted at each: `IGNORE`, or the token itself.

    `cut` says that the dialogue was longer than the context.
    """

    ids: tuple[int, ...]
    targets: tuple[int, ...]
    cut: bool = False


@dataclass(frozen=True)
class Padded:
    """Sequences side by side, all (B, T) int64; `mask` is 1 where there is something."""

    ids: Tensor
    targets: Tensor
    mask: Tensor

    @property
    def positions(self) -> Tensor:
        """Counted from the first token that is no padding."""
        return (self.mask.cumsum(dim=1) - 1).clamp(min=0)


def pad(encoded: Sequence[Encoded], side: Literal["left", "right"], device: torch.device) -> Padded:
    """Sequences at equal length, padded on one side with token 0, which the mask hides."""
    longest = max(len(one.ids) for one in encoded)

    def rows(values: Sequence[Sequence[int]], filler: int) -> Tensor:
        gaps = [[filler] * (longest - len(row)) for row in values]
        lists = [
            [*gap, *row] if side == "left" else [*row, *gap] for row, gap in zip(values, gaps, strict=True)
        ]
        return torch.tensor(lists, device=device)

    ids = [one.ids for one in encoded]
    mask = rows([[1] * len(row) for row in ids], 0)
    return Padded(rows(ids, 0), rows([one.targets for one in encoded], IGNORE), mask)
