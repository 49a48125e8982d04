"""What the first stage tells the second about an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mmidd.training.config.backbone import Channels


@dataclass(frozen=True)
class Evidence:
    """Of B images with side S, from a detector with L layers.

    Attributes:
        embedding: visual embeddings (B, D).
        consistency: consistency maps of all layers (B, 2L, S, S).
        location: localisation maps (B, 1, S, S), in [0, 1].
        scores: P(real) and P(fake), (B, 2).
    """

    embedding: Tensor
    consistency: Tensor
    location: Tensor
    scores: Tensor

    def of(self, rows: Tensor) -> Evidence:
        """The evidence of some images, by their indices or a mask (B,)."""
        return Evidence(**{name: values[rows] for name, values in vars(self).items()})


class Examined(Protocol):
    """What a detector makes of images: see `tasks.kfd.Examined`."""

    @property
    def embedding(self) -> Tensor: ...  # noqa: D102
    @property
    def maps(self) -> Tensor: ...  # noqa: D102
    @property
    def forged(self) -> Tensor: ...  # noqa: D102
    @property
    def scores(self) -> Tensor: ...  # noqa: D102


def evidence_of(found: Examined) -> Evidence:
    """The same in float32 and in the shapes that the second stage takes."""
    return Evidence(
        embedding=found.embedding.float(),
        consistency=found.maps.flatten(1, 2).float(),
        location=found.forged[:, None].float(),
        scores=found.scores.float(),
    )


def channels(values: Tensor) -> Channels:
    """A detector's mean or standard deviation as plain numbers."""
    first, second, third = values.flatten().tolist()
    return first, second, third
