"""LNCLIP-DF (arXiv 2508.06248): CLIP's LayerNorms and a linear head on the unit sphere.

The vision tower's class token after the final LayerNorm, L2-normalised, feeds a plain
linear head. Training adds spherical interpolations between features of one class and
pulls classes together (alignment) while spreading features (uniformity).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmidd.errors import UsageError
from mmidd.training import losses
from mmidd.training.config import LnclipConfig
from mmidd.training.data import Batch
from mmidd.training.models.clip import layernorm_parameters
from mmidd.training.models.encoder import Encoder
from mmidd.training.models.slerp import augment
from mmidd.training.tasks.base import Features, LossTerms
from mmidd.training.tasks.headed import Headed


class Lnclip(Headed[LnclipConfig]):
    """The `lnclip` method; features have length 1 unless `normalise` is off.

    Raises:
        UsageError: the encoder cannot be had, or has no LayerNorm to train.
    """

    def __init__(self, config: LnclipConfig) -> None:
        super().__init__(config, still=config.trainable != "all")
        self.encoder.requires_grad_(config.trainable == "all")
        if config.trainable == "layernorm":
            _train_layernorms(self.encoder)
        with torch.no_grad():
            self.head.weight.mul_(config.head_gain)

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

    def of_encoder(self, features: Tensor) -> Tensor:
        """Features (B, width), float32, on the unit sphere."""
        features = super().of_encoder(features)
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
