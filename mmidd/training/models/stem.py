"""A small vision transformer that learns from few images without pretraining.

Normalised convolutions embed the patches (early convolutions help transformers see better, arXiv
2106.14881), the first filters start as waves of the discrete cosine transform, since forgeries
show in frequencies (F3-Net, arXiv 2007.09355), and the class token starts as the mean patch
instead of a constant. From random weights on a few thousand face crops, a plain ViT of this size
stays at chance for as long as this one needs to learn.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
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
            output_dim=embed_dim,
        )
        self.conv1 = conv_stem(shape.width, shape.patch_size)

    def _embeds(self, x: Tensor) -> Tensor:
        patches = self.conv1(x).flatten(2).transpose(1, 2)
        first = patches.mean(dim=1, keepdim=True) + self.class_embedding
        out: Tensor = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        return out


_WAVES = 24
_WAVE_SIZE = 6


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
    channels = [_WAVES, *(width >> (steps - 1 - i) for i in range(1, steps))]
    layers: list[nn.Module] = [_cosine_convolution(), nn.BatchNorm2d(_WAVES), nn.GELU()]
    for inner, outer in itertools.pairwise(channels):
        layers += [*_convolution(inner, outer, 2), nn.GELU(), _Residual(outer)]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], width, 1))


def cosine_waves(count: int, size: int) -> NDArray[np.float64]:
    """The first `count` two-dimensional DCT-II basis functions, orthonormal, coarse ones first.

    Returns:
        (count, size, size).
    """
    k = np.arange(size)
    basis = np.cos(np.pi * (k[None] + 0.5) * k[:, None] / size) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    order = sorted(((u, v) for u in k for v in k), key=lambda uv: (uv[0] + uv[1], uv[0]))
    return np.stack([np.outer(basis[u], basis[v]) for u, v in order[:count]])


def _cosine_convolution() -> nn.Conv2d:
    """Halves the image; its learned filters start as waves of grey."""
    layer = nn.Conv2d(3, _WAVES, _WAVE_SIZE, stride=2, padding=2, bias=False)
    waves = torch.from_numpy(cosine_waves(_WAVES, _WAVE_SIZE)).float() / 3
    with torch.no_grad():
        layer.weight.copy_(waves[:, None].expand_as(layer.weight))
    return layer


def _convolution(inner: int, outer: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)]
