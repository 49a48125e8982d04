"""Frozen CLIP asked in words: the floor of what a text tower knows about forgeries."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmidd.schema import ForgeryType
from mmidd.training.config import ZeroshotConfig
from mmidd.training.data import Batch
from mmidd.training.models.clip import encode_text, load_clip, normalisation
from mmidd.training.tasks.base import Described, Features, Group, LossTerms, Scored, Task

SCALE = 100.0
"""Of the cosines: what CLIP's own temperature is trained to (arXiv 2103.00020, 2.5)."""


class Zeroshot(Task[ZeroshotConfig]):
    """Cosines to the five plain class sentences of sd2; score is 1 - softmax(100 cos)[REAL]."""

    classes: Tensor

    def __init__(self, config: ZeroshotConfig) -> None:
        clip: Any = load_clip(config.backbone, config.seed)
        visual, backbone = clip.visual.requires_grad_(False), config.backbone
        super().__init__(config, int(visual.image_size[0]), *normalisation(visual, backbone))
        self.visual = visual
        with torch.no_grad():
            self.register_buffer("classes", encode_text(clip, config.labels.plain), persistent=False)

    def forward(self, batch: Batch) -> Features:
        """Cosines to the classes, (B, 5)."""
        return {"cosines": self._cosines(batch.images)}

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Cross-entropy of the five types; nothing follows from it."""
        loss = F.cross_entropy(SCALE * features["cosines"], batch.type)
        return LossTerms(loss, {"type": loss})

    def score_pixels(self, images: Tensor) -> Scored:
        """1 - P(REAL) and the five probabilities."""
        types = (SCALE * self._cosines(images)).softmax(dim=-1)
        return Scored(1 - types[:, ForgeryType.REAL.index], types)

    def describe_pixels(self, images: Tensor) -> Described:
        """What is compared with the sentences."""
        return Described(self._embed(images))

    def groups(self) -> list[Group]:
        """Nothing is trained."""
        return []

    def _cosines(self, images: Tensor) -> Tensor:
        return self._embed(images) @ self.classes.T

    def _embed(self, images: Tensor) -> Tensor:
        return F.normalize(self.visual(self.normalise(images)).float(), dim=-1)
