"""What the methods of one vision encoder and a linear head share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from mmidd.training.data import Batch
from mmidd.training.models.encoder import vision_encoder
from mmidd.training.models.weights import seeded
from mmidd.training.tasks.base import ConfigT, Described, Features, Group, Scored, Task


class Headed(Task[ConfigT]):
    """A vision encoder and a linear head of real and fake; score is softmax P(fake).

    Args:
        config: of the method.
        still: the encoder's dropout is off and its running statistics stay, in training, too.

    Raises:
        UsageError: see `vision_encoder`.
    """

    def __init__(self, config: ConfigT, still: bool) -> None:
        encoder = vision_encoder(config.backbone, config.seed)
        super().__init__(config, encoder.size, encoder.mean, encoder.std)
        self.encoder, self._still = encoder, still
        with seeded(config.seed):
            self.head = nn.Linear(encoder.width, 2)

    def forward(self, batch: Batch) -> Features:
        """Features `z` (B, width) that the head reads."""
        return {"z": self.encode(batch.images)}

    def score_pixels(self, images: Tensor) -> Scored:
        """Softmax probability of the fake class; the method knows no types."""
        return Scored(self.head(self.encode(images)).softmax(dim=-1)[:, 1])

    def encode(self, images: Tensor) -> Tensor:
        """Features (B, width), float32, of uint8 images (B, S, S, 3)."""
        return self.of_encoder(self.encoder(self.normalise(images)))

    def of_encoder(self, features: Tensor) -> Tensor:
        """What the head reads, (B, width), float32, of the encoder's features."""
        return features.float()

    def describe_pixels(self, images: Tensor) -> Described:
        """What the head reads; patches of the encoder."""
        features, patches = self.encoder.describe(self.normalise(images))
        return Described(self.of_encoder(features), patches)

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
        """See `still`."""
        super().train(mode)
        if self._still:
            self.encoder.eval()
        return self
