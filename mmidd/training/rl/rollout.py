"""What a policy wrote of an image, and what it earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmidd.training.rl.chain import Chain


@dataclass(frozen=True)
class Rollout:
    """G completions of one image's prompt.

    Attributes:
        said: their tokens, with the one that ends them where it came.
        ended: whether it came.
        chains: what can be read from them.
        rewards: (G,) float32.
        terms: each of the rewards' terms by name, (G,).
        reference: log-probabilities by the policy that the run began with, (G, T), none where not asked for.
    """

    said: tuple[tuple[int, ...], ...]
    ended: tuple[bool, ...]
    chains: tuple[Chain, ...]
    rewards: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    reference: Tensor | None = None


@dataclass(frozen=True)
class Form:
    """A completion that shows the form alone."""

    said: tuple[tuple[int, ...], ...]


def agreement(rollouts: Sequence[Rollout]) -> float:
    """Mean share of a group's completions with the verdict that most of them have."""
    shares = []
    for rollout in rollouts:
        verdicts = [chain.verdict for chain in rollout.chains if chain.verdict]
        most = max((verdicts.count(verdict) for verdict in {*verdicts}), default=0)
        shares.append(most / len(rollout.chains))
    return sum(shares) / len(shares)


def mask_of(rollouts: Sequence[Rollout], longest: int, mask_truncated: bool) -> Tensor:
    """Tokens that teach, (B x G, longest) booleans: those that were said, of all or of ended completions."""
    lengths = [
        len(said) if ended or not mask_truncated else 0
        for one in rollouts
        for said, ended in zip(one.said, one.ended, strict=True)
    ]
    return torch.arange(longest) < torch.tensor(lengths)[:, None]
