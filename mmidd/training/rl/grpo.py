"""Group relative policy optimisation (arXiv 2402.03300, methods 5.5), as in TRL 1.16; all in float32.

N completions have T tokens each; `mask` (N, T) is true up to and with the first token that ends one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

from mmidd.training.config.grpo import Grpo

_SPREAD = 1e-4
"""Added to a standard deviation before it divides."""


class Totals(NamedTuple):
    """What losses of a whole batch are divided by, over all its micro-batches and ranks."""

    completions: int
    tokens: int

    @classmethod
    def of(cls, mask: Tensor) -> Self:
        """Of the whole batch's mask (N, T)."""
        return cls(len(mask), int(mask.sum()))


class PolicyLoss(NamedTuple):
    """Scalars that are this part's share of the whole batch: those of all its parts are to be added.

    Attributes:
        total: to minimise; the policy's loss, and `beta` times the divergence.
        policy: the loss alone.
        kl: mean divergence from the reference over tokens; 0 without one.
        clipped: share of tokens whose ratio is clipped.
    """

    total: Tensor
    policy: Tensor
    kl: Tensor
    clipped: Tensor


def completion_mask(tokens: Tensor, ends: Sequence[int], mask_truncated: bool) -> Tensor:
    """Tokens (N, T) that belong to a completion, (N, T) booleans: up to and with the first of `ends`.

    Args:
        tokens: as they were generated, with anything behind an end.
        ends: tokens that end a completion.
        mask_truncated: completions without an end are left out as a whole.
    """
    end = torch.isin(tokens, torch.tensor(list(ends), device=tokens.device))
    mask = end.cumsum(dim=1) - end.long() == 0
    return mask & end.any(dim=1, keepdim=True) if mask_truncated else mask


def advantages(rewards: Tensor, scale: Literal["group", "batch", "none"]) -> Tensor:
    """How much better each completion is than its group: (B, G) rewards of G completions of B prompts.

    The deviation is that of a sample (n - 1), of the group or of all rewards. Computed in float64, so that a
    group of equal rewards has advantages of 0 and not of rounding errors.
    """
    exact = rewards.double()
    distance = exact - exact.mean(dim=1, keepdim=True)
    if scale != "none":
        spread = exact.std(dim=1, keepdim=True) if scale == "group" else exact.std()
        distance = distance / (spread + _SPREAD)
    return distance.float()


def idle_groups(rewards: Tensor) -> Tensor:
    """Share of groups (B, G) whose rewards are all equal, so that nothing is learned from them; a scalar."""
    return (rewards == rewards[:, :1]).all(dim=1).float().mean()


def token_log_probs(logits: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities (N, T) of tokens (N, T) by logits (N, T, V)."""
    scaled = logits.float() / temperature
    return scaled.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - scaled.logsumexp(dim=-1)


@torch.no_grad()
def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy in nats (N, T) of what logits (N, T, V) predict, without a gradient; logits may be -inf."""
    log_p = (logits.float() / temperature).log_softmax(dim=-1)
    found: Tensor = torch.special.entr(log_p.exp()).sum(dim=-1)
    return found


def kl(policy: Tensor, reference: Tensor) -> Tensor:
    """Estimate of the divergence of each token: exp(q - p) - (q - p) - 1 of log-probabilities p and q.

    Of samples of the policy it is unbiased and never negative (k3 of joschu.net/blog/kl-approx.html).
    """
    distance = reference - policy
    return distance.expm1() - distance


def policy_loss(
    log_probs: Tensor,
    old: Tensor,
    reference: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    totals: Totals,
    config: Grpo,
) -> PolicyLoss:
    """The share of some completions in the loss of their batch.

    Args:
        log_probs: of the policy, (N, T), with a gradient.
        old: of the policy that wrote the completions, (N, T).
        reference: of the policy that the run began with, (N, T); none where `beta` is 0.
        advantages: of the completions, (N,).
        mask: see above; elsewhere log-probabilities are not looked at.
        totals: of the whole batch.
        config: the settings.
    """
    none, gain = ~mask, advantages.unsqueeze(1)
    ratio = (log_probs - old).masked_fill(none, 0).exp()
    low, high = 1 - config.epsilon, 1 + (config.epsilon_high or config.epsilon)
    surrogate = -torch.min(ratio * gain, ratio.clamp(low, high) * gain)
    policy = _share(surrogate, mask, totals, config)
    clipped = ((ratio < low) & (gain < 0) | (ratio > high) & (gain > 0)) & mask
    tokens = max(totals.tokens, 1)
    if reference is None:
        return PolicyLoss(policy, policy, torch.zeros_like(policy), clipped.sum() / tokens)
    divergence = kl(log_probs.masked_fill(none, 0), reference.masked_fill(none, 0))
    total = policy + config.beta * _share(divergence, mask, totals, config)
    return PolicyLoss(total, policy, divergence.sum() / tokens, clipped.sum() / tokens)


def _share(values: Tensor, mask: Tensor, totals: Totals, config: Grpo) -> Tensor:
    """Sum of the tokens' values (N, T), divided as the loss says."""
    if config.loss == "grpo":
        means = (values * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return means.sum() / totals.completions
    most = totals.completions * config.max_new_tokens if config.loss == "dr_grpo" else max(totals.tokens, 1)
    return (values * mask).sum() / most
