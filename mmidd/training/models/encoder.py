"""Vision encoders of several libraries behind one face."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.config import Backbone
from mmidd.training.config.backbone import Channels
from mmidd.training.models.clip import MEAN, STD, load_clip, normalisation


class Encoder(nn.Module, ABC):
    """Normalised images (B, 3, S, S) to features (B, width).

    A transformer gives its class token after the last norm, or what its own attention pooling
    makes of all tokens; a CNN gives the mean of its last map.

    Attributes:
        width: of a feature.
        size: side S of the images in pixels.
        mean: of the normalisation, per channel, of images in [0, 1].
        std: likewise.
    """

    width: int
    size: int
    mean: Channels = MEAN
    std: Channels = STD

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features."""

    @abstractmethod
    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and those of the places: patches after the last norm, or a CNN's last map, (B, N, D)."""

    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks: what is compiled, checkpointed and sharded as one; empty for a CNN."""


class ClipVision(Encoder):
    """open_clip's vision tower without its projection."""

    def __init__(self, clip: Any, mean: Channels = MEAN, std: Channels = STD) -> None:
        super().__init__()
        self.tower: Any = clip.visual
        self.tower.proj, self.tower.output_tokens = None, True
        self.width = self.tower.ln_post.normalized_shape[0]
        self.size = int(self.tower.image_size[0])
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        """The class token after the last LayerNorm."""
        return self.describe(images)[0]

    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The class token and the patches, after the last LayerNorm."""
        features, patches = self.tower(images)
        return features, patches

    def blocks(self) -> Sequence[nn.Module]:
        """Its residual attention blocks."""
        return list(self.tower.transformer.resblocks)


def vision_encoder(backbone: Backbone, seed: int) -> Encoder:
    """The vision encoder of a configuration, float32, in evaluation mode.

    Raises:
        UsageError: unknown name, or weights that cannot be had, or batch normalisation that is not declared;
            says what to pass.
    """
    encoder = _load(backbone, seed)
    encoder.mean, encoder.std = backbone.mean or encoder.mean, backbone.std or encoder.std
    found = any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    if found != backbone.normalises_over_the_batch:
        raise UsageError(
            f"the encoder has {'' if found else 'no '}batch normalisation; "
            f"--set backbone.batch_norm={str(found).lower()}"
        )
    return encoder


def _load(backbone: Backbone, seed: int) -> Encoder:
    match backbone.library:
        case "timm":
            from mmidd.training.models.timm_encoder import load_timm

            return load_timm(backbone, seed)
        case "transformers":
            from mmidd.training.models.transformers_encoder import load_transformers

            return load_transformers(backbone, seed)
        case "open_clip":
            clip: Any = load_clip(backbone, seed)
            if not isinstance(clip.visual, VisionTransformer) or clip.visual.pool_type != "tok":
                raise UsageError(
                    f"{backbone.name} has no vision transformer with a class token in open_clip; "
                    "set backbone.library to timm and backbone.name to timm's name of it"
                )
            return ClipVision(clip, *normalisation(clip.visual, backbone))
