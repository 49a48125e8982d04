"""A trained detector, or an encoder, whose frozen features another method builds on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.config.ltdd import LtddConfig
from mmidd.training.models.encoder import Encoder, vision_encoder
from mmidd.training.tasks.base import Described, Task

CHANNELS = (0, 3, 1, 2)


class Encoded(nn.Module):
    """An encoder that describes images, as a task does."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self.size = encoder, encoder.size
        self.register_buffer("mean", torch.tensor(encoder.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).view(3, 1, 1), persistent=False)

    def describe(self, images: Tensor) -> Described:
        """Features of uint8 images (B, S, S, 3)."""
        pixels = (images.permute(CHANNELS).float() / 255 - self.mean) / self.std
        return Described(*self.encoder.describe(pixels))


class Specialist(nn.Module):
    """Frozen features of uint8 images (B, S, S, 3), whatever their side: each network gets its own.

    Attributes:
        size: side in pixels of what it sees.
        widths: of the features, of the whole image first.
        tokens: how many features there are.

    Args:
        network: describes images.
        grid: rows and columns that patches are averaged to; 0 leaves them out.

    Raises:
        UsageError: there are to be patches, and the network has none.
    """

    def __init__(self, network: Task[Any] | Encoded, grid: int) -> None:
        super().__init__()
        self.network, self.size, self._grid = network.requires_grad_(False).eval(), network.size, grid
        features = self(torch.zeros(1, self.size, self.size, 3, dtype=torch.uint8))
        self.widths = [one.shape[-1] for one in features]
        self.tokens = sum(one.shape[1] for one in features)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Of the whole image (B, 1, C), and of its patches (B, grid x grid, D)."""
        described = self.network.describe(resized(images, self.size))
        whole = described.embedding[:, None].float()
        if not self._grid:
            return [whole]
        if described.patches is None:
            raise UsageError("the specialist has no features of patches; --set grid=0")
        return [whole, averaged(described.patches.float(), self._grid)]


def averaged(patches: Tensor, grid: int) -> Tensor:
    """Features of square patches (B, N, D), row by row, as means of a grid (B, grid x grid, D)."""
    side = math.isqrt(patches.shape[1])
    planes = patches.transpose(1, 2).reshape(len(patches), -1, side, side)
    return F.adaptive_avg_pool2d(planes, grid).flatten(2).transpose(1, 2)


def resized(images: Tensor, side: int) -> Tensor:
    """uint8 images (B, S, S, 3) of another side, without aliasing."""
    if images.shape[1] == side:
        return images
    planes = images.permute(CHANNELS).float()
    smaller = F.interpolate(planes, (side, side), mode="bilinear", antialias=True)
    return smaller.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def load_specialist(config: LtddConfig) -> Specialist | None:
    """The specialist of a configuration, none where it names none.

    Raises:
        UsageError: its run or encoder cannot be had.
    """
    if config.backbone:
        return Specialist(Encoded(vision_encoder(config.backbone, config.seed)), config.grid)
    if config.specialist is None:
        return None
    from mmidd.training.trained import load_run  # it builds tasks

    if not Path(config.specialist).exists():
        raise UsageError(f"the specialist {config.specialist} is gone; put it back, or train on another one")
    return Specialist(load_run(Path(config.specialist)).task, config.grid)
