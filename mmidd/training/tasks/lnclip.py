"""LNCLIP-DF (arXiv 2508.06248): CLIP's LayerNorms and a linear head on the unit sphere.

The vision tower's class token after the final LayerNorm, L2-normalised, feeds a plain
linear head. Training adds spherical interpolations between features of one class and
pulls classes together (alignment) while spreading features (uniformity).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.training import losses
from mmidd.training.config import LnclipConfig
from mmidd.training.data import Batch
from mmidd.training.models.clip import layernorm_parameters
from mmidd.training.models.encoder import vision_encoder
from mmidd.training.models.slerp import augment
from mmidd.training.tasks.base import Features, Group, LossTerms, Task


class Lnclip(Task[LnclipConfig]):
    """The `lnclip` method; score is softmax P(fake)."""

    def __init__(self, config: LnclipConfig) -> None:
        encoder = vision_encoder(config.backbone, config.seed)
        super().__init__(config, encoder.size, encoder.mean, encoder.std)
        self.encoder = encoder
        self.encoder.requires_grad_(config.trainable == "all")
        if config.trainable == "layernorm":
            for parameter in layernorm_parameters(self.encoder):
                parameter.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.head = nn.Linear(encoder.width, 2)
        with torch.no_grad():
            self.head.weight.mul_(config.head_gain)

    def forward(self, batch: Batch) -> Features:
        """Unit features `z` (B, width)."""
        return {"z": self._encode(batch.images)}

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Cross-entropy + alignment and uniformity, on the interpolated set."""
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

    def score_pixels(self, images: Tensor) -> tuple[Tensor, None]:
        """Softmax probability of the fake class; the method knows no types."""
        return self.head(self._encode(images)).softmax(dim=-1)[:, 1], None

    def groups(self) -> list[Group]:
        """The tower's trained weights at `lr`, the head at `new_lr` where it is set."""
        optim = self.config.optim
        tower = [p for p in self.encoder.parameters() if p.requires_grad]
        return [Group(optim.lr, tower), Group(optim.new_lr or optim.lr, list(self.head.parameters()))]

    def blocks(self) -> Sequence[nn.Module]:
        """Of the encoder."""
        return self.encoder.blocks()

    def _encode(self, images: Tensor) -> Tensor:
        features: Tensor = self.encoder(self.normalise(images)).float()
        return F.normalize(features, dim=-1) if self.config.normalise else features
