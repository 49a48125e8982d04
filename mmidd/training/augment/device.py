"""Drawings rendered for a whole batch by torch, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmidd.training.augment.colour import lit, shifted, turned
from mmidd.training.augment.draw import LAST, Blur, Draw, Hsv, Interpolation, Light, Pca, Resize
from mmidd.training.augment.geometry import interpolation, moved_to, resampling, source_of
from mmidd.training.augment.jpeg import round_trip

T = TypeVar("T")


@torch.no_grad()
def apply_batch(images: Tensor, draws: Sequence[Draw], size: int) -> Tensor:
    """The changed crops, in float32 whatever autocast says.

    They differ from what `cpu.apply` gives by the rounding of OpenCV and libjpeg, by half a grey level in
    the mean, on grainy images by one.

    Args:
        images: (B, H, W, 3) uint8 RGB; they are not changed.
        draws: one for each image.
        size: side of the result in pixels.

    Returns:
        (B, size, size, 3) uint8 on the same device.
    """
    height, width = images.shape[1:3]
    ways: dict[object, list[int]] = {}
    for index, draw in enumerate(draws):
        ways.setdefault(_way(draw, height, width, size), []).append(index)
    with torch.autocast(images.device.type, enabled=False):
        planes = images.permute(0, 3, 1, 2).float()
        result = planes.new_empty(len(draws), 3, size, size)
        for members in ways.values():
            chosen = torch.tensor(members, device=images.device)
            result[chosen] = _rendered(planes[chosen], [draws[i] for i in members], size)
    return result.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def apply_to_masks(masks: Tensor, draws: Sequence[Draw], size: int) -> Tensor:
    """The masks (B, size, size) of the changed crops, of masks (B, H, W): they move as the crops do."""
    grey = masks[..., None].expand(-1, -1, -1, 3)
    return apply_batch(grey, [draw.geometry for draw in draws], size)[..., 0]


def _way(draw: Draw, height: int, width: int, size: int) -> tuple[Interpolation | None, tuple[int, int]]:
    """What the images of one call must share: how they are resized before colour, their shape when moved."""
    method = interpolation(height, width, size, draw.resize) if draw.resize else None
    return method, moved_to(draw, height, width, size)


def _rendered(planes: Tensor, draws: list[Draw], size: int) -> Tensor:
    """Draws of one way; (B, 3, H, W) with whole numbers in 0..255 after every step."""
    planes = _moved(planes, draws, size)
    planes = _changed(planes, [draw.blur for draw in draws], _blurred)
    if draws[0].resize is not None:
        planes = _resized(planes, size, draws[0].resize)
    planes = _changed(planes, [_if_is(Light, draw.colour) for draw in draws], lit)
    planes = _changed(planes, [_if_is(Pca, draw.colour) for draw in draws], shifted)
    planes = _changed(planes, [_if_is(Hsv, draw.colour) for draw in draws], turned)
    planes = _changed(planes, [draw.jpeg for draw in draws], round_trip)
    return _resized(planes, size, LAST)


def _if_is(kind: type[T], value: object) -> T | None:
    return value if isinstance(value, kind) else None


def _changed(planes: Tensor, values: list[T | None], change: Callable[[Tensor, list[T]], Tensor]) -> Tensor:
    """The images that have a value changed together, in a copy."""
    members = [index for index, value in enumerate(values) if value is not None]
    some = [value for value in values if value is not None]
    if len(some) == len(values):
        return change(planes, some)
    chosen = torch.tensor(members, device=planes.device)
    return planes.index_copy(0, chosen, change(planes[chosen], some)) if members else planes


def _moved(planes: Tensor, draws: list[Draw], size: int) -> Tensor:
    flips = [draw if draw.flip and draw.affine is None else None for draw in draws]
    planes = _changed(planes, flips, lambda part, _: part.flip(3))
    moves = [draw if draw.affine is not None else None for draw in draws]
    return _changed(planes, moves, lambda part, some: _warped(part, some, size))


def _warped(planes: Tensor, draws: list[Draw], size: int) -> Tensor:
    height, width = planes.shape[2:]
    shape = moved_to(draws[0], height, width, size)
    matrices = planes.new_tensor(np.stack([source_of(draw, height, width, size) for draw in draws]))
    rows, columns = (torch.arange(n, device=planes.device, dtype=torch.float32) for n in shape)
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=2)[..., None, :]
    source = (matrices[:, None, None, :, :2] * places).sum(4) + matrices[:, None, None, :, 2]
    last = planes.new_tensor([width - 1, height - 1])
    mirrored = last - (source.remainder(2 * last) - last).abs()
    reflects = [draw.affine is not None and draw.affine.border == "reflect" for draw in draws]
    reflect = torch.tensor(reflects, device=planes.device)[:, None, None, None]
    grid = torch.where(reflect, mirrored, source) * (2 / last) - 1
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=True).round()


def _blurred(planes: Tensor, blurs: list[Blur]) -> Tensor:
    reach = max(blur.kernel for blur in blurs) // 2
    taps = np.zeros((len(blurs), 2 * reach + 1))
    for row, blur in zip(taps, blurs, strict=True):
        side = blur.kernel // 2
        row[reach - side : reach + side + 1] = cv2.getGaussianKernel(blur.kernel, blur.sigma)[:, 0]
    weights = planes.new_tensor(taps)
    return _along_rows(_along_rows(planes, weights).mT, weights).mT.round()


def _along_rows(planes: Tensor, weights: Tensor) -> Tensor:
    """Every line convolved with its image's kernel (B, odd)."""
    reach, width = weights.shape[1] // 2, planes.shape[3]
    padded, total = F.pad(planes, (reach, reach, 0, 0), mode="reflect"), torch.zeros_like(planes)
    for start, weight in enumerate(weights[:, :, None, None, None].unbind(1)):
        total += weight * padded[..., start : start + width]
    return total


def _resized(planes: Tensor, size: int, resize: Resize) -> Tensor:
    height, width = planes.shape[2:]
    if (height, width) == (size, size):
        return planes
    method = interpolation(height, width, size, resize)
    rows, columns = (planes.new_tensor(resampling(method, length, size)) for length in (height, width))
    return (rows @ planes @ columns.T).round().clamp(0, 255)
