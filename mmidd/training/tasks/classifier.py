"""An encoder with a linear head: probe, full fine-tuning, LoRA, singular values, CNNs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.config import ClassifierConfig
from mmidd.training.data import Batch
from mmidd.training.models.clip import add_lora
from mmidd.training.models.encoder import Encoder, vision_encoder
from mmidd.training.models.svd import add_svd
from mmidd.training.models.weights import seeded
from mmidd.training.tasks.base import Features, Group, LossTerms, Scored, Task


class Classifier(Task[ClassifierConfig]):
    """The baselines that train; score is softmax P(fake).

    Raises:
        UsageError: the encoder has no projections to tune; or see `vision_encoder`.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        encoder = vision_encoder(config.backbone, config.seed)
        super().__init__(config, encoder.size, encoder.mean, encoder.std)
        with seeded(config.seed):
            self.head = nn.Linear(encoder.width, 2)
            self.encoder = _tuned(encoder, config)

    def forward(self, batch: Batch) -> Features:
        """Features `x` (B, width)."""
        return {"x": self._encode(batch.images)}

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Cross-entropy of real and fake."""
        loss = F.cross_entropy(self.head(features["x"]), batch.label)
        return LossTerms(loss, {"ce": loss})

    def score_pixels(self, images: Tensor) -> Scored:
        """Softmax probability of the fake class; the method knows no types."""
        return Scored(self.head(self._encode(images)).softmax(dim=-1)[:, 1])

    def groups(self) -> list[Group]:
        """What learns of the encoder at `lr`, the head at `new_lr` where it is set."""
        optim = self.config.optim
        head = Group(optim.new_lr or optim.lr, list(self.head.parameters()))
        tuned = [p for p in self.encoder.parameters() if p.requires_grad]
        return [Group(optim.lr, tuned), head] if tuned else [head]

    def blocks(self) -> Sequence[nn.Module]:
        """Of the encoder."""
        return self.encoder.blocks()

    def train(self, mode: bool = True) -> Self:
        """Of a frozen encoder the statistics stay, too."""
        super().train(mode)
        if self.config.tune == "none":
            self.encoder.eval()
        return self

    def _encode(self, images: Tensor) -> Tensor:
        features: Tensor = self.encoder(self.normalise(images)).float()
        return features


def _tuned(encoder: Encoder, config: ClassifierConfig) -> Encoder:
    """The encoder, of which only what `tune` says requires gradients."""
    match config.tune:
        case "lora":
            try:
                add_lora(encoder, config.lora, config.seed)
            except ValueError as error:
                raise UsageError(
                    f"the encoder has none of lora.targets; take a CLIP of open_clip ({error})"
                ) from error
        case "svd":
            add_svd(encoder, config.svd_rank)
        case "all" | "none":
            encoder.requires_grad_(config.tune == "all")
    return encoder
