"""Augmentation of training crops: what is drawn (`draw`), and two renderers of the same drawing.

`apply` is the CPU's; `device.apply_batch`, which loads torch, does a whole batch on any device.
"""

from __future__ import annotations

from mmidd.training.augment.cpu import apply, apply_to_mask, resize
from mmidd.training.augment.draw import Draw, draw, sample_generator

__all__ = ["Draw", "apply", "apply_to_mask", "draw", "resize", "sample_generator"]
