"""Small configurations of LTDD's two stages, and the pictures they learn from."""

from __future__ import annotations

from typing import Any

import torch

from mmidd.training.accumulate import accumulate
from mmidd.training.config.ltdd import LtddConfig
from mmidd.training.config.ltdd_rl import LtddRlConfig
from mmidd.training.data import Batch
from mmidd.training.tasks.base import LossTerms, Task
from mmidd.training.tasks.ltdd import Ltdd
from mmidd.training.tasks.ltdd_rl import LtddRl
from mmidd.training.trained import put
from tests.training.training_world import random_batch

SHAPE = {"width": 48, "layers": 2, "heads": 2, "vocabulary": 420, "vision_width": 32, "vision_layers": 1}
ENCODER = {
    "embed_dim": 16,
    "vision": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SIDE = 32


def ltdd_config(mllm: dict[str, Any] | None = None, **changes: Any) -> LtddConfig:
    own = {
        "shape": {**SHAPE, "patch_size": 8},
        "image_size": SIDE,
        "dtype": "float32",
        "vision_lora": {"rank": 4, "dropout": 0},
        "language_lora": {"rank": 8, "dropout": 0, "targets": LINEAR},
        **(mllm or {}),
    }
    values: dict[str, Any] = {
        "mllm": own,
        "backbone": {"shape": ENCODER},
        "specialist": None,
        "grid": 2,
        "generation": {"max_new_tokens": 12},
        "chains": 3,
        "optim": {"lr": 3e-3},
        "batch": 8,
        "micro_batch": 8,
        "epochs": 1,
    }
    return LtddConfig(**{**values, **changes})


def rl_config(first: LtddConfig | None = None, **changes: Any) -> LtddRlConfig:
    values: dict[str, Any] = {
        "policy": "somewhere",
        "first_stage": first or ltdd_config(),
        "grpo": {"group": 4, "max_new_tokens": 12},
        "optim": {"lr": 3e-3},
        "batch": 4,
        "micro_batch": 4,
        "epochs": 1,
    }
    return LtddRlConfig(**{**values, **changes})


def policy_of(task: Ltdd, config: LtddRlConfig) -> LtddRl:
    """The second stage on the weights of the first."""
    policy = LtddRl(config)
    put(policy.learned(), {name: tensor.detach().clone() for name, tensor in task.learned().items()})
    return policy


def pictures(count: int = 8, seed: int = 0) -> Batch:
    """Noise, every other one called a fake."""
    batch = random_batch(count, SIDE, seed)
    return Batch(**{**vars(batch), "label": torch.arange(count) % 2})


def learn(task: Task[Any], batch: Batch, steps: int, lr: float = 3e-3, micro: int = 64) -> list[LossTerms]:
    """What the loop does, without its files."""
    optimiser = torch.optim.AdamW(task.trainable().values(), lr=lr)
    terms = []
    for step in range(steps):
        optimiser.zero_grad()
        acted = task.train().act(batch, step, seed=step)
        terms.append(accumulate(task, task, acted, micro, seed=step, backward=torch.autograd.backward))
        optimiser.step()
    return terms
