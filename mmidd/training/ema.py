"""The moving average of what is learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """An exponential moving average of tensors; those that are no floats are copied.

    The decay of step n is at most (1 + n) / (10 + n), so that the start is forgotten soon.

    Args:
        tensors: what is averaged, by name; read again at every update.
        decay: share of the average that a step leaves, in (0, 1).
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self._tensors, self._decay = tensors, decay
        self.values = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the tensors as they are after a step, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, tensor in self._tensors.items():
            if tensor.is_floating_point():
                self.values[name].lerp_(tensor.detach(), 1 - decay)
            else:
                self.values[name].copy_(tensor)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The tensors hold the average for as long as this is entered."""
        before = {name: tensor.detach().clone() for name, tensor in self._tensors.items()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(before)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._tensors.items():
            tensor.copy_(values[name])
