"""Settings of group relative policy optimisation, and of the guard against its collapse."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmidd.training.config.backbone import Frozen


class Collapse(Frozen):
    """When a policy counts as collapsed.

    Attributes:
        window: steps in a row over which it must show nothing else.
        min_words: a step's thoughts count as empty if their median has fewer words.
    """

    window: int = Field(default=50, ge=1)
    min_words: int = Field(default=3, ge=1)


class Grpo(Frozen):
    """GRPO (arXiv 2402.03300); defaults are those of the method notes, as in TRL but for the length.

    Attributes:
        group: completions that are sampled of every prompt.
        temperature: of sampling, and of the probabilities that are learned from.
        max_new_tokens: longest completion.
        mask_truncated: whether completions without an end teach nothing; they count in their group all the
            same.
        scale: what the rewards' distance from their group's mean is divided by: the group's deviation, that
            of the whole batch, or nothing.
        loss: mean over each completion's tokens, then over completions (`grpo`); over all tokens (`dapo`,
            arXiv 2503.14476); sum over all tokens by the most that there could be (`dr_grpo`, 2503.20783).
        epsilon: probability ratios beyond 1 - epsilon and 1 + epsilon teach nothing more.
        epsilon_high: the upper one where it differs.
        beta: weight of the divergence from the policy that the run began with; 0 computes none.
        collapse: what ends a run.
    """

    group: int = Field(default=8, ge=2)
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=256, ge=1)
    mask_truncated: bool = False
    scale: Literal["group", "batch", "none"] = "group"
    loss: Literal["grpo", "dapo", "dr_grpo"] = "dapo"
    epsilon: float = Field(default=0.2, gt=0, lt=1)
    epsilon_high: float | None = Field(default=None, gt=0)
    beta: float = Field(default=0.0, ge=0)
    collapse: Collapse = Collapse()
