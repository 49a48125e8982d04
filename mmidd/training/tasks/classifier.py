"""An encoder with a linear head: probe, full fine-tuning, LoRA, singular values, CNNs."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmidd.errors import UsageError
from mmidd.training.config import ClassifierConfig
from mmidd.training.data import Batch
from mmidd.training.models.clip import add_lora
from mmidd.training.models.encoder import Encoder
from mmidd.training.models.svd import add_svd
from mmidd.training.tasks.base import Features, LossTerms
from mmidd.training.tasks.headed import Headed


class Classifier(Headed[ClassifierConfig]):
    """The baselines that train.

    Raises:
        UsageError: the encoder has no projections to tune; or see `vision_encoder`.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config, still=config.tune == "none")
        _tune(self.encoder, config)

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Cross-entropy of real and fake."""
        loss = F.cross_entropy(self.head(features["z"]), batch.label)
        return LossTerms(loss, {"ce": loss})


def _tune(encoder: Encoder, config: ClassifierConfig) -> None:
    """Only what `tune` says requires gradients."""
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
