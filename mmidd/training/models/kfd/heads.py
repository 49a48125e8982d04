"""What reads the consistency maps: the locator, pixel by pixel, and the classifier."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_HIDDEN = 128
_CHANNELS = (2, 16, 64, 128, 256)


class Locator(nn.Module):
    """Maps (B, L, 2, S, S) to logits of real and fake for every pixel, (B, 2, S, S); one branch a layer."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2, _HIDDEN, 3, padding=2), nn.ReLU(inplace=True), nn.BatchNorm2d(_HIDDEN))
            for _ in range(layers)
        )
        self.fuse = nn.Conv2d(layers * _HIDDEN, 2, 3)

    def forward(self, maps: Tensor) -> Tensor:
        """Logits."""
        branches = zip(self.branches, maps.unbind(1), strict=True)
        out: Tensor = self.fuse(torch.cat([branch(part) for branch, part in branches], dim=1))
        return out


class Classifier(nn.Module):
    """Maps (B, L, 2, S, S) to logits of real and fake, (B, 2); one branch a layer, averaged over places."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch() for _ in range(layers))
        self.decide = nn.Sequential(nn.Linear(layers * _CHANNELS[-1], 128), nn.ReLU(), nn.Linear(128, 2))

    def forward(self, maps: Tensor) -> Tensor:
        """Logits."""
        branches = zip(self.branches, maps.unbind(1), strict=True)
        out: Tensor = self.decide(torch.cat([branch(part).mean((2, 3)) for branch, part in branches], dim=1))
        return out


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


def _branch() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(_CHANNELS):
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(outer)]
    return nn.Sequential(*layers)
