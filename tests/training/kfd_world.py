"""A small detector of KFD and batches of pairs for its tests."""

from __future__ import annotations

import dataclasses

import torch

from mmidd.training.config import KfdConfig, apply_overrides, load_preset
from mmidd.training.data import Batch
from mmidd.training.tasks.kfd import Kfd
from tests.training.training_world import random_batch

SIDE = 32
SMALL = [
    "backbone.shape={embed_dim: 16, stem: patch, "
    "vision: {image_size: 32, patch_size: 8, width: 32, layers: 4, head_width: 16, mlp_ratio: 2}, "
    "text: {context_length: 32, width: 16, heads: 2, layers: 1}}",
    "batch=8",
    "micro_batch=8",
    "epochs=1",
    "workers=0",
    "trainable=none",
    "focal=1",
]


def kfd_config(*overrides: str) -> KfdConfig:
    config = apply_overrides(load_preset("kfd", "tiny"), [*SMALL, *overrides])
    assert isinstance(config, KfdConfig)
    return config


def small_kfd(*overrides: str) -> Kfd:
    return Kfd(kfd_config(*overrides))


def pairs(count: int, seed: int = 0) -> Batch:
    """Reals of noise, each followed by its forgery, which has a brighter square at a place of its own."""
    batch = random_batch(2 * count, SIDE, seed)
    images, mask = batch.images // 2, torch.zeros(2 * count, SIDE, SIDE, dtype=torch.uint8)
    for number in range(count):
        y, x = 8 * (number % 2), 8 * (number // 2 % 2)
        images[2 * number + 1] = images[2 * number]
        images[2 * number + 1, y : y + 16, x : x + 16] += 120
        mask[2 * number + 1, y : y + 16, x : x + 16] = 255
    return dataclasses.replace(
        batch,
        images=images,
        mask=mask,
        label=torch.tensor([0, 1] * count),
        type=torch.tensor([0, 4] * count),
        pair_id=tuple(str(number // 2) for number in range(2 * count)),
    )
