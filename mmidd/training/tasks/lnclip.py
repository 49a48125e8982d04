"""LNCLIP-DF (arXiv 2508.06248): CLIP's LayerNorms and a linear head on the unit sphere.

The vision tower's class token after the final LayerNorm, L2-normalised, feeds a plain
linear head. Training adds spherical interpolations between features of one class and
pulls classes together (alignment) while spreading features (uniformity).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training import losses
from mmidd.training.config import LnclipConfig
from mmidd.training.data import Batch
from mmidd.training.models.clip import layernorm_parameters
from mmidd.training.models.encoder import Encoder, vision_encoder
from mmidd.training.models.slerp import augment
from mmidd.training.models.weights import seeded
from mmidd.training.tasks.base import Features, Group, LossTerms, Scored, Task


class Lnclip(Task[LnclipConfig]):
    """The `lnclip` method; score is softmax P(fake).

    Raises:
        UsageError: the encoder cannot be had, or has no LayerNorm to train.
    """

    def __init__(self, config: LnclipConfig) -> None:
        encoder = vision_encoder(config.backbone, config.seed)
        super().__init__(config, encoder.size, encoder.mean, encoder.std)
        self.encoder = encoder.requires_grad_(config.trainable == "all")
        if config.trainable == "layernorm":
            _train_layernorms(encoder)
        with seeded(config.seed):
            self.head = nn.Linear(encoder.width, 2)
        with torch.no_grad():
            self.head.weight.mul_(config.head_gain)

    def forward(self, batch: Batch) -> Features:
        """Features `z` (B, width), of length 1 unless `normalise` is off."""
        return {"z": self._encode(batch.images)}

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Cross-entropy + alignment and uniformity, on the interpolated set of `lnclip-df`."""
        config = self.config
        z, labels = features["z"], batch.label
        if config.variant == "lnclip-df":
            z, labels = augment(z, labels, config.slerp_mode, config.slerp_k, generator)
        parts = {
            "ce": F.cross_entropy(self.head(z), labels),
            "alignment": losses.alignment(z, labels),
            "uniformity": losses.uniformity(z),
        }
        total = parts["ce"] + config.alignment * parts["alignment"] + config.uniformity * parts["uniformity"]
        return LossTerms(total, parts)

    def score_pixels(self, images: Tensor) -> Scored:
        """Softmax probability of the fake class; the method knows no types."""
        return Scored(self.head(self._encode(images)).softmax(dim=-1)[:, 1])

    def groups(self) -> list[Group]:
        """The encoder's trained weights at `lr`, the head at `new_lr` where it is set."""
        optim = self.config.optim
        head = Group(optim.new_lr or optim.lr, list(self.head.parameters()))
        trained = [p for p in self.encoder.parameters() if p.requires_grad]
        return [Group(optim.lr, trained), head] if trained else [head]

    def blocks(self) -> Sequence[nn.Module]:
        """Of the encoder."""
        return self.encoder.blocks()

    def train(self, mode: bool = True) -> Self:
        """Dropout and running statistics of an encoder that is frozen but for its LayerNorms stay off."""
        super().train(mode)
        if self.config.trainable != "all":
            self.encoder.eval()
        return self

    def _encode(self, images: Tensor) -> Tensor:
        features: Tensor = self.encoder(self.normalise(images)).float()
        return F.normalize(features, dim=-1) if self.config.normalise else features


def _train_layernorms(encoder: Encoder) -> None:
    """Every affine parameter of every norm requires gradients, and nothing else."""
    for parameter in layernorm_parameters(encoder):
        parameter.requires_grad_(True)
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    norms = {
        f"{name}.{own}"
        for name, module in encoder.named_modules()
        if "norm" in type(module).__name__.lower()
        for own, _ in module.named_parameters(recurse=False)
    }
    if not norms or trained != norms:
        other = min(norms ^ trained, default="there is none")
        raise UsageError(
            f"trainable=layernorm needs an encoder whose norms are all LayerNorms ({other}); "
            "choose a vision transformer, or --set trainable=all"
        )
