"""KFD's Forgery Prompt Learner (arXiv 2503.14853, section 3.2): evidence into tokens of a language model."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.training.config.kfd_llm import Prompt
from mmidd.training.models.llm.evidence import Evidence


class PromptLearner(nn.Module):
    """Base, location, consistency and score tokens, fused along the tokens by a convolution.

    Args:
        config: counts and channels.
        maps: consistency maps, two for each of the detector's layers.
        width: of the language model.
    """

    def __init__(self, config: Prompt, maps: int, width: int) -> None:
        super().__init__()
        self._side = config.side
        self.base = nn.Parameter(0.02 * torch.randn(config.base_tokens, width))
        self.location = _map_tokens(1, config, width)
        self.consistency = _map_tokens(maps, config, width)
        self.score = nn.Linear(2, width)
        count = config.base_tokens + 2 * config.tokens_per_map + 1
        self.fuse = nn.Conv1d(count, config.tokens, kernel_size=3, padding=1)

    def forward(self, evidence: Evidence) -> Tensor:
        """Forgery prompt embeddings (B, tokens, width)."""
        parts = [
            self.base.expand(len(evidence.scores), -1, -1),
            self._tokens(self.location, evidence.location),
            self._tokens(self.consistency, evidence.consistency),
            self.score(evidence.scores)[:, None],
        ]
        fused: Tensor = self.fuse(torch.cat(parts, dim=1))
        return fused

    def _tokens(self, network: nn.Module, maps: Tensor) -> Tensor:
        if maps.shape[-1] != self._side:
            maps = F.interpolate(maps, self._side, mode="bilinear", align_corners=True)
        tokens: Tensor = network(maps).flatten(2).transpose(1, 2)
        return tokens


def _map_tokens(maps: int, config: Prompt, width: int) -> nn.Sequential:
    """The release's order: convolution, ReLU, norm, pooling; the last convolution has no padding."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise((maps, *config.channels)), 1):
        norm = nn.BatchNorm2d(outputs) if config.norm == "batch" else nn.GroupNorm(1, outputs)
        layers += [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU(), norm]
        if number < len(config.channels):
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Conv2d(config.channels[-1], width, kernel_size=5))
