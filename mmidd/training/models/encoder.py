"""Vision encoders of several libraries behind one face."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmidd.training.config import Backbone
from mmidd.training.models.clip import MEAN, STD, load_clip


class Encoder(nn.Module, ABC):
    """Normalised images (B, 3, S, S) to features (B, width): the class token after the last norm.

    Attributes:
        width: of a feature.
        size: side S of the images in pixels.
        mean: of the normalisation, per channel, of images in [0, 1].
        std: likewise.
    """

    width: int
    size: int
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features."""

    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks: what is compiled, checkpointed and sharded as one; empty for a CNN."""


class ClipVision(Encoder):
    """open_clip's vision tower without its projection."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.tower: Any = clip.visual
        self.tower.proj = None
        self.width = self.tower.ln_post.normalized_shape[0]
        self.size = int(self.tower.image_size[0])

    def forward(self, images: Tensor) -> Tensor:
        """The class token after the last LayerNorm."""
        features: Tensor = self.tower(images)
        return features

    def blocks(self) -> Sequence[nn.Module]:
        """Its residual attention blocks."""
        return list(self.tower.transformer.resblocks)


def vision_encoder(backbone: Backbone, seed: int) -> Encoder:
    """The vision encoder of a configuration, float32, in evaluation mode.

    Raises:
        UsageError: see `load_clip`.
    """
    return ClipVision(load_clip(backbone, seed))
