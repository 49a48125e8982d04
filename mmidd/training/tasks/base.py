"""The task contract: what a method gives the loop, the evaluator and the predictor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmidd.errors import UsageError
from mmidd.spec import PreprocessSpec
from mmidd.training.augment import resize
from mmidd.training.config import TrainConfig
from mmidd.training.config.backbone import Channels
from mmidd.training.data import Batch
from mmidd.training.models.clip import MEAN, STD

ConfigT = TypeVar("ConfigT", bound=TrainConfig)
Features = dict[str, Tensor]


@dataclass(frozen=True)
class LossTerms:
    """The loss to minimise and its named parts, all scalars; parts are for the log."""

    total: Tensor
    parts: dict[str, Tensor]

    def values(self) -> dict[str, float]:
        """Total and parts as floats."""
        return {name: float(value.detach()) for name, value in {"total": self.total, **self.parts}.items()}


@dataclass(frozen=True)
class Scores:
    """P(fake) (B,), probabilities of the five types (B, 5) and of every pixel (B, S, S); in [0, 1], float32.

    Types and pixels are None where the method does not tell them apart.
    """

    fake: NDArray[np.float32]
    types: NDArray[np.float32] | None = None
    maps: NDArray[np.float32] | None = None


class Scored(NamedTuple):
    """The same as tensors."""

    fake: Tensor
    types: Tensor | None = None
    maps: Tensor | None = None


@dataclass(frozen=True)
class Described:
    """Features of B images, float32.

    Attributes:
        embedding: on which the verdict rests, (B, C).
        patches: of N places of the image, by rows, after the last norm where there is one, (B, N, D); None of
            a method without such.
    """

    embedding: Tensor
    patches: Tensor | None = None


@dataclass(frozen=True)
class Group:
    """Parameters with their own top learning rate."""

    lr: float
    parameters: list[nn.Parameter]


class Task(nn.Module, ABC, Generic[ConfigT]):
    """A method: networks, losses, what is trained, and how an image is scored.

    `forward` encodes one (micro-)batch into features; `losses` sees the features of the
    whole batch, over all ranks, so that contrastive terms span it whatever the memory allows.

    Args:
        config: of the method.
        size: side in pixels of the images that the encoder sees.
        mean: of the normalisation, per channel, of images in [0, 1].
        std: likewise.
    """

    needs_captions: bool = False
    config: ConfigT
    size: int
    mean: Tensor
    std: Tensor

    def __init__(self, config: ConfigT, size: int, mean: Channels = MEAN, std: Channels = STD) -> None:
        super().__init__()
        self.config, self.size = config, size
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @abstractmethod
    def forward(self, batch: Batch) -> Features:
        """Features of a batch, each (B, ...)."""

    @abstractmethod
    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Losses of a whole batch; `generator` (CPU) is the only source of randomness."""

    @abstractmethod
    def score_pixels(self, images: Tensor) -> Scored:
        """Scores of uint8 images (B, S, S, 3)."""

    def describe_pixels(self, images: Tensor) -> Described:
        """Features of uint8 images (B, S, S, 3).

        Raises:
            UsageError: the method has none.
        """
        method = self.config.model_dump()["method"]
        raise UsageError(f"a run of {method} has no features to take; pass one of another method")

    @abstractmethod
    def groups(self) -> list[Group]:
        """Every trained parameter, once, with its learning rate."""

    def start(self, spec: PreprocessSpec) -> None:
        """Take over what a new run builds on beside its initial weights; `spec` is of its crops."""

    def act(self, batch: Batch, step: int, seed: int) -> Batch:
        """What a step learns from: the batch, with what the method itself does of it, without gradients."""
        return batch

    def carried(self) -> dict[str, Any]:
        """What else changes from step to step beside what is learned, in plain values."""
        return {}

    def carry_on(self, carried: dict[str, Any]) -> None:
        """Go on with what `carried` gave."""

    def references(self) -> dict[str, str]:
        """Digests of frozen weights that are not saved with those learned, but have to be the same again."""
        return {}

    def blocks(self) -> Sequence[nn.Module]:
        """Transformer blocks: what is compiled, checkpointed and sharded as one; none for a CNN."""
        return []

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """In evaluation mode, in which weights do not change, for as long as this is entered."""
        mode = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(mode)

    def score(self, images: Tensor) -> Scores:
        """Scores of uint8 images (B, S, S, 3), in evaluation mode, without gradients."""
        with self.evaluating(), torch.inference_mode():
            scored = self.score_pixels(images.to(self.mean.device))
        rest = (None if values is None else _array(values) for values in scored[1:])
        return Scores(_array(scored.fake), *rest)

    def describe(self, images: Tensor) -> Described:
        """Features of uint8 images (B, S, S, 3), in evaluation mode, for others to learn on.

        Raises:
            UsageError: the method has none.
        """
        with self.evaluating(), torch.no_grad():
            found = self.describe_pixels(images.to(self.mean.device))
        patches = None if found.patches is None else found.patches.float()
        return Described(found.embedding.float(), patches)

    def prepare(self, crops: Sequence[NDArray[np.uint8]]) -> Tensor:
        """RGB crops of any size as uint8 images (B, S, S, 3)."""
        return torch.from_numpy(np.stack([resize(crop, self.size) for crop in crops]))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) to the network's float input (B, 3, S, S)."""
        return (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trained parameters by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def learned(self) -> dict[str, Tensor]:
        """Trained parameters and batch statistics by name; only these are saved."""
        statistics = {
            f"{prefix}.{name}": buffer
            for prefix, module in self.named_modules()
            if isinstance(module, _BatchNorm)
            for name, buffer in module.named_buffers()
        }
        return {**self.trainable(), **statistics}


def _array(values: Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
