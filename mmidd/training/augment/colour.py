"""Changes of colour of (B, 3, H, W) float32 RGB, whole numbers in 0..255, one change for each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmidd.training.augment.cpu import LUMA
from mmidd.training.augment.draw import Hsv, Light, Pca


def lit(planes: Tensor, lights: list[Light]) -> Tensor:
    """Brightness and contrast."""
    gain, of_mean, offset = _columns(planes, [(light.gain, light.of_mean, light.offset) for light in lights])
    mean = (planes.mean((2, 3)) @ planes.new_tensor(LUMA))[:, None, None]
    return _whole(gain[:, None] * planes + (offset + of_mean * mean)[:, None])


def shifted(planes: Tensor, shifts: list[Pca]) -> Tensor:
    """Along the principal components of the image's colours."""
    pixels = planes.flatten(2) / 255
    pixels = pixels - pixels.mean(2, keepdim=True)
    covariance = pixels @ pixels.mT / (pixels.shape[2] - 1)
    weights = planes.new_tensor([shift.weights for shift in shifts])
    return _whole(planes + 255 * (covariance @ weights[:, :, None])[..., None])


def turned(planes: Tensor, shifts: list[Hsv]) -> Tensor:
    """In hue, saturation and value, which are whole numbers as in OpenCV."""
    steps = _columns(planes, [tuple(math.floor(amount) for amount in shift.shift) for shift in shifts])
    hue, saturation, value = (x + step for x, step in zip(to_hsv(planes).unbind(1), steps, strict=True))
    shifted = (hue.remainder(180), saturation.clamp(0, 255), value.clamp(0, 255))
    return from_hsv(torch.stack(shifted, dim=1))


def to_hsv(planes: Tensor) -> Tensor:
    """Hue in 0..179, saturation and value in 0..255, rounded."""
    red, green, blue = planes.unbind(1)
    value, spread = planes.amax(1), planes.amax(1) - planes.amin(1)
    sector = torch.where(value == red, green - blue, torch.where(value == green, blue - red, red - green))
    start = torch.where(value == red, 0.0, torch.where(value == green, 60.0, 120.0))
    hue = (start + 30 * sector / spread.clamp(min=1)).round().remainder(180)
    saturation = (255 * spread / value.clamp(min=1)).round()
    return torch.stack([hue, saturation, value], dim=1)


def from_hsv(planes: Tensor) -> Tensor:
    """RGB, cut to whole numbers as by OpenCV.

    A channel is lowest, (1 - saturation) of the value, opposite to its own hue.
    """
    hue, saturation, value = planes[:, :1], planes[:, 1:2], planes[:, 2:]
    place = (hue / 30 + planes.new_tensor([5.0, 3.0, 1.0])[:, None, None]).remainder(6)
    lowered = value * (1 - saturation / 255 * torch.minimum(place, 4 - place).clamp(0, 1))
    return (lowered + 1e-4).floor()


def _columns(planes: Tensor, rows: list[tuple[float, ...]]) -> tuple[Tensor, ...]:
    """For each of the numbers that every image has a tensor (B, 1, 1)."""
    return planes.new_tensor(rows)[:, :, None, None].unbind(1)


def _whole(planes: Tensor) -> Tensor:
    return planes.round().clamp(0, 255)
