"""What a multimodal language model is given: images and tokens, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

TEXT = 0


@dataclass(frozen=True)
class Inputs:
    """Prompts, padded on the left, and what has been said since, padded on the right.

    Attributes:
        ids: tokens (B, T) int64.
        mask: (B, T), 1 where there is something.
        kinds: (B, T), `TEXT` or the kind of image that a token stands for.
        vision: the images in the form that the model's own processor gives them.
    """

    ids: Tensor
    mask: Tensor
    kinds: Tensor
    vision: Mapping[str, Tensor]

    def then(self, tokens: Tensor, mask: Tensor | None = None) -> Inputs:
        """Followed by tokens (B, n), of which `mask` (B, n) says which there are; none is all."""
        mask = torch.ones_like(tokens) if mask is None else mask.to(self.mask.dtype)
        return replace(
            self,
            ids=torch.cat([self.ids, tokens], dim=1),
            mask=torch.cat([self.mask, mask], dim=1),
            kinds=torch.cat([self.kinds, torch.full_like(tokens, TEXT)], dim=1),
        )

    def then_all(self, tokens: Sequence[int]) -> Inputs:
        """Every row followed by the same tokens."""
        row = torch.tensor(tokens, dtype=self.ids.dtype, device=self.ids.device)
        return self.then(row.expand(len(self.ids), -1))

    def then_each(self, rows: Sequence[Sequence[int]]) -> Inputs:
        """Every row followed by its own tokens, so that all end at the last place."""
        tokens, mask = side_by_side(rows, 0, self.ids.device)
        longer = self.then(tokens, mask)
        order = longer.mask.argsort(dim=1, stable=True)
        moved = {name: getattr(longer, name).gather(1, order) for name in ("ids", "mask", "kinds")}
        return replace(longer, **moved)


def side_by_side(rows: Sequence[Sequence[int]], filler: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token rows of any length as (B, n), padded on the right, and their mask."""
    longest = max((len(row) for row in rows), default=0)
    ids = [[*row, *[filler] * (longest - len(row))] for row in rows]
    mask = [[*[1] * len(row), *[0] * (longest - len(row))] for row in rows]
    shape = (len(rows), longest)
    return (
        torch.tensor(ids, dtype=torch.int64, device=device).reshape(shape),
        torch.tensor(mask, dtype=torch.int64, device=device).reshape(shape),
    )
