"""What reads the consistency maps: the locator, pixel by pixel, and the classifier."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GROWTH = (1, 4, 8, 16)
"""Channels of the classifier's convolutions, as multiples of its width."""


class Locator(nn.Module):
    """Maps (B, L, 2, S, S) to logits of real and fake for every pixel, (B, 2, S, S); one branch a layer.

    Args:
        layers: L.
        width: channels of a branch.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2, width, 3, padding=2), nn.ReLU(inplace=True), nn.BatchNorm2d(width))
            for _ in range(layers)
        )
        self.fuse = nn.Conv2d(layers * width, 2, 3)

    def forward(self, maps: Tensor) -> Tensor:
        """Logits."""
        bias = cast(Tensor, self.fuse.bias)[:, None, None]
        weights = self.fuse.weight.chunk(len(self.branches), dim=1)
        shares = zip(self.branches, maps.unbind(1), weights, strict=True)
        # Joined branches would be copied, and batch normalisation is slow in the backward pass of a slice.
        return cast(Tensor, sum(F.conv2d(branch(part), weight) for branch, part, weight in shares)) + bias


class Classifier(nn.Module):
    """Maps (B, L, 2, S, S) to logits of real and fake, (B, 2); one branch a layer, averaged over places.

    Args:
        layers: L.
        width: channels of a branch's first convolution; the last has sixteen times as many.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        channels = [width * growth for growth in _GROWTH]
        self.branches = nn.ModuleList(_branch(channels) for _ in range(layers))
        self.decide = nn.Sequential(nn.Linear(layers * channels[-1], 128), nn.ReLU(), nn.Linear(128, 2))

    def forward(self, maps: Tensor) -> Tensor:
        """Logits."""
        out: Tensor = self.decide(self.features(maps))
        return out

    def features(self, maps: Tensor) -> Tensor:
        """What is decided by, (B, L x 16 width)."""
        branches = zip(self.branches, maps.unbind(1), strict=True)
        return torch.cat([branch(part).mean((2, 3)) for branch, part in branches], dim=1)


@contextmanager
def without_memory(module: nn.Module) -> Iterator[None]:
    """Batch normalisation inside normalises over the batch and does not remember it."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _branch(channels: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise((2, *channels)):
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(outer)]
    return nn.Sequential(*layers)
