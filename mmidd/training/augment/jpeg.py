"""What JPEG with halved colour resolution does to a batch, without the lossless coding.

ITU-T T.81; tables of its Annex K, scaled and rounded as in libjpeg (jcparam.c, jcsample.c, jdsample.c).
The DCT is exact, as nearly is that of Pillow and OpenCV; simplejpeg's, below quality 96, is its fast one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_LUMA = """
16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99
"""
_CHROMA = """
17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
"""
_BASE = np.array([_LUMA.split(), _CHROMA.split() + 32 * ["99"]], dtype=np.int64)

_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def round_trip(images: Tensor, qualities: Sequence[int]) -> Tensor:
    """Compress and decompress.

    Args:
        images: (B, 3, H, W) float32 RGB, whole numbers in 0..255.
        qualities: one of 1..100 for each image.

    Returns:
        The same shape and range.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate")
    planes = torch.einsum("cd,ndhw->nchw", images.new_tensor(_TO_YCC), padded).round()
    tables = images.new_tensor(np.stack([quantisation(quality) for quality in qualities]))
    luma = _coded(planes[:, :1] - 128, tables[:, :1])[..., :height, :width]
    chroma = _coded(_halved(planes[:, 1:]), tables[:, 1:])[..., : (height + 1) // 2, : (width + 1) // 2]
    planes = torch.cat([luma + 128, _doubled(chroma)[..., :height, :width]], dim=1)
    return torch.einsum("cd,ndhw->nchw", images.new_tensor(_TO_RGB), planes).round().clamp(0, 255)


@cache
def quantisation(quality: int) -> NDArray[np.float32]:
    """Tables (2, 8, 8) of luma and chroma at a quality in 1..100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((_BASE * scale + 50) // 100).clip(1, 255).reshape(2, 8, 8).astype(np.float32)


@cache
def _cosines() -> NDArray[np.float32]:
    """The orthonormal DCT-II of 8 values."""
    frequency, place = np.arange(8)[:, None], np.arange(8)
    basis = np.cos(np.pi * frequency * (2 * place + 1) / 16) / 2
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def _coded(planes: Tensor, tables: Tensor) -> Tensor:
    """Planes (B, C, 8h, 8w) in -128..127 after quantisation of their blocks by tables (B, 1, 8, 8)."""
    basis, shape = planes.new_tensor(_cosines()), planes.shape
    blocks = planes.reshape(*shape[:2], shape[2] // 8, 8, shape[3] // 8, 8)
    steps = tables[:, :, None, :, None, :]
    whole = (torch.einsum("ui,nchiwj,vj->nchuwv", basis, blocks, basis) / steps).round() * steps
    restored = torch.einsum("ui,nchuwv,vj->nchiwj", basis, whole, basis)
    return restored.reshape(shape).round().clamp(-128, 127)


def _halved(planes: Tensor) -> Tensor:
    """Means of 2 x 2, halves rounded down and up in turn along a line."""
    bias = (1 + torch.arange(planes.shape[3] // 2, device=planes.device) % 2) / 4
    return (F.avg_pool2d(planes, 2) + bias).floor()


def _doubled(planes: Tensor) -> Tensor:
    """Each pixel as 9, 3, 3 and 1 sixteenths of the four nearest; 7 or 8 sixteenths round up in turn."""
    near = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    rows = torch.stack([3 * near[:, :, 1:-1] + near[:, :, :-2], 3 * near[:, :, 1:-1] + near[:, :, 2:]], dim=3)
    rows = rows.flatten(2, 3)
    left = 3 * rows[..., 1:-1] + rows[..., :-2] + 8
    right = 3 * rows[..., 1:-1] + rows[..., 2:] + 7
    return (torch.stack([left, right], dim=4).flatten(3, 4) / 16).floor()
