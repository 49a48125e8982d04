"""Model FLOPs of a training step, counted by hand, and the rate of matrix products that a chip reaches.

A multiplication and its addition are two. A product of N rows with a weight of i inputs and o outputs takes
2·N·i·o forward, as much for the gradient of its input where that is needed, and as much for the gradient of
its weight where that learns. So with frozen weights a step costs two forward passes, not three:

- lnclip: convolution + 2·(projections + MLP) + 3·attention, since every block's input has a gradient
  (the LayerNorm before the first block learns) and no matrix does;
- sd2: the same and three times LoRA's matrices, CLAM and the adapter, less what the first block's q, k and v
  need not hand to their input, which has no gradient.

Attention's two products have no weights: 2·2·L²·d forward and twice that backward, masked or not. What is
computed twice (checkpointing, cached features) counts once. Left out: norms, activations, softmax, losses.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmidd.training.config import LnclipConfig, Sd2Config, TrainConfig
from mmidd.training.data import Batch
from mmidd.training.tasks import build_task


@dataclass(frozen=True)
class Tower:
    """A transformer: `tokens` of a sample, and how wide and deep it is."""

    tokens: int
    width: int
    layers: int
    hidden: int

    @classmethod
    def of(cls, blocks: nn.ModuleList, tokens: int) -> Tower:
        """The size of these residual attention blocks."""
        first: Any = blocks[0]
        hidden, width = first.mlp.c_fc.weight.shape
        return cls(tokens, width, len(blocks), hidden)

    def step(self, rank: int = 0) -> int:
        """FLOPs of a sample, forward and backward: LayerNorms learn, or LoRA of a rank on q, k, v and out."""
        matrices = self.tokens * self.layers * (4 * self.width**2 + 2 * self.width * self.hidden)
        attention = 2 * self.layers * self.tokens**2 * self.width
        total = 2 * matrices + 3 * attention
        if rank:
            total += 3 * self.tokens * self.layers * 4 * 2 * rank * self.width
            total -= 3 * self.tokens * self.width * (self.width + rank)
        return 2 * total


def of_step(task: Any, config: TrainConfig, images: int, texts: int) -> int:
    """FLOPs of the encoders for a step with so many images and texts, those of the classes included.

    The tower's matrices must be frozen, as in the presets `paper`.
    """
    match config:
        case LnclipConfig():
            tower = task.encoder.tower
            return images * (_patches(tower) + _vision(tower).step())
        case Sd2Config():
            clip, rank = task.clip, config.lora.rank
            shared = int(clip.text_projection.shape[1])
            image = _patches(clip.visual) + _vision(clip.visual).step(rank) + _clam(config, clip.visual)
            text = Tower.of(clip.transformer.resblocks, clip.context_length)
            projection = 2 * 2 * text.width * shared
            return images * image + texts * (text.step(rank) + projection)
        case _:
            raise TypeError(f"no count for {type(config).__name__}")


def _vision(tower: Any) -> Tower:
    return Tower.of(tower.transformer.resblocks, tower.positional_embedding.shape[0])


def _patches(tower: Any) -> int:
    """The convolution that embeds patches: forward alone."""
    return 2 * int(tower.positional_embedding.shape[0] - 1) * int(tower.conv1.weight.numel())


def _clam(config: Sd2Config, tower: Any) -> int:
    """Attention over layers and the adapter: all of it learns, and its input has a gradient."""
    layers = len(tower.transformer.resblocks)
    width, shared = (int(side) for side in tower.proj.shape)
    attention = layers * 4 * width**2 + 2 * layers**2 * width
    adapter = 2 * width * config.adapter_width + config.adapter_width * shared
    residual = 2 * width * shared if config.adapter == "residual" else 0
    return 2 * (3 * (attention + adapter) + residual)


def check(config: TrainConfig, batch: Batch) -> dict[str, int]:
    """The count by hand and that of torch's counter, which must agree.

    Attention as plain products: of its fused backward pass the counter counts what is computed again, too.

    Raises:
        AssertionError: they differ.
    """
    task = build_task(config).train()
    texts = len({*batch.face_caption, *batch.environment_caption} - {None})
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = torch.stack([feature.square().sum() for feature in task(batch).values()]).sum()
        torch.autograd.backward(loss)
    found = {"by hand": of_step(task, config, len(batch), texts), "torch": counter.get_total_flops()}
    assert found["by hand"] == found["torch"], found
    return found


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.bfloat16, rounds: int = 20) -> float:
    """FLOPs per second of a large square product of random numbers: the median of the rounds."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(rounds + 3):
        start = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(times[3:])
