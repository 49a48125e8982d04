"""A detector that needs no training, and small configurations of the second stage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.dialogue.conversation import Message
from mmidd.training.config.kfd_llm import KfdLlmConfig
from mmidd.training.data import Batch
from mmidd.training.tasks.kfd_llm import KfdLlm
from tests.training.training_world import random_batch

SIZE = 32
PLACES = ("left eye", "nose", "mouth", "right cheek")


class FakeDetector(nn.Module):
    """Says what follows from the pixels; `offset` and the norm stand for what a first stage learned."""

    size = SIZE

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5), persistent=False)
        self.register_buffer("std", torch.full((3, 1, 1), 0.25), persistent=False)
        self.offset = nn.Parameter(torch.tensor(0.1))
        self.norm = nn.BatchNorm2d(3)

    def examine(self, images: Tensor) -> SimpleNamespace:
        x = self.norm(images.permute(0, 3, 1, 2).float() / 255 + self.offset)
        fake = torch.sigmoid(8 * (x.mean(dim=(1, 2, 3)) - 0.6))
        return SimpleNamespace(
            embedding=F.adaptive_avg_pool2d(x, 2).flatten(1),
            maps=torch.stack([x[:, :2], x[:, 1:]], dim=1),
            forged=x[:, 0],
            scores=torch.stack([1 - fake, fake], dim=1),
        )

    def learned(self) -> dict[str, Tensor]:
        return dict(self.state_dict(keep_vars=True))


def llm_config(llm: dict[str, Any] | None = None, **changes: Any) -> KfdLlmConfig:
    small = {"width": 64, "layers": 2, "heads": 2, "vocabulary": 700}
    own = {"shape": small, "dtype": "float32", "context": 256, **(llm or {})}
    values: dict[str, Any] = {
        "detector": "somewhere",
        "llm": own,
        "prompt": {"channels": (8, 8, 8), "side": 20, "tokens": 3, "base_tokens": 2, "norm": "group"},
        "optim": {"lr": 3e-3},
        "augment": {"hflip_p": 0, "affine_p": 0},
        "online": ("regional",),
        "batch": 8,
        "micro_batch": 8,
        "epochs": 1,
        "generation": {"max_new_tokens": 40},
    }
    return KfdLlmConfig(**{**values, **changes})


def llm_task(config: KfdLlmConfig | None = None) -> KfdLlm:
    return KfdLlm(config or llm_config(), FakeDetector())


def talk(number: int, turns: int = 1) -> tuple[Message, ...]:
    """A dialogue about the picture of that number, every other one a forgery of a place of its own."""
    place = PLACES[number // 2 % len(PLACES)]
    verdict = f"Yes, the {place} is forged." if number % 2 else f"No, the {place} is genuine."
    first = "<image>\nThis is a face. The score is <forgery_score> percent. Is it a deepfake?"
    said = [first, verdict, "Where?", f"At the {place}, by <forgery_score> percent.", "Sure?", "I am."]
    return tuple(
        {"from": "human" if i % 2 == 0 else "gpt", "value": text} for i, text in enumerate(said[: 2 * turns])
    )


def talk_batch(count: int = 8, turns: int = 1) -> Batch:
    batch = random_batch(8, SIZE)[:count]
    shades = torch.linspace(0.2, 1, 8)[:count].view(-1, 1, 1, 1)
    images = (batch.images * shades).to(torch.uint8)
    return Batch(
        **{**vars(batch), "images": images, "conversation": tuple(talk(i, turns) for i in range(count))}
    )
