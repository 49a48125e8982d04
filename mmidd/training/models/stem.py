"""A small vision transformer that learns from few images without pretraining.

Convolutions embed the patches (early convolutions help transformers see better, arXiv
2106.14881), and the class token starts as the mean patch instead of a constant. From
random weights on a few thousand face crops, a plain ViT of this size stays at chance for as
long as this one needs to learn.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.config import VisionShape


class StemVision(VisionTransformer):  # type: ignore[misc]  # open_clip is untyped
    """open_clip's vision transformer with a convolutional stem and a pooled class token."""

    def __init__(self, shape: VisionShape, embed_dim: int) -> None:
        super().__init__(
            image_size=shape.image_size,
            patch_size=shape.patch_size,
            width=shape.width,
            layers=shape.layers,
            heads=shape.width // shape.head_width,
            mlp_ratio=shape.mlp_ratio,
            ls_init_value=shape.ls_init_value,
            output_dim=embed_dim,
        )
        self.conv1 = conv_stem(shape.width, shape.patch_size)

    def _embeds(self, x: Tensor) -> Tensor:
        patches = self.conv1(x).flatten(2).transpose(1, 2)
        first = patches.mean(dim=1, keepdim=True) + self.class_embedding
        out: Tensor = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        return out


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels, channels, 1), nn.GELU(), *_convolution(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.body(x))


def conv_stem(width: int, patch_size: int) -> nn.Sequential:
    """Images (B, 3, S, S) to patches (B, width, S / patch_size, S / patch_size) in halving steps."""
    steps = patch_size.bit_length() - 1
    if 1 << steps != patch_size:
        raise UsageError(
            f"backbone.shape.stem=conv needs a patch size that is a power of two, not {patch_size}"
        )
    channels = [3, *(width >> (steps - 1 - i) for i in range(steps))]
    layers: list[nn.Module] = []
    for step, (inner, outer) in enumerate(itertools.pairwise(channels)):
        layers += [*_convolution(inner, outer, 2), nn.GELU()]
        if step:  # the first step's maps are too large to be refined cheaply
            layers.append(_Residual(outer))
    return nn.Sequential(*layers, nn.Conv2d(width, width, 1))


def _convolution(inner: int, outer: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.GroupNorm(1, outer)]
