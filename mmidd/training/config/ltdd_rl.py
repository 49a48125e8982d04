"""Settings of LTDD's second stage: reinforcement learning of explanations by real or fake alone."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from mmidd.training.config.base import TrainConfig, Validation
from mmidd.training.config.grpo import Grpo
from mmidd.training.config.ltdd import LtddConfig
from mmidd.training.config.rewards import Rewards


class LtddRlConfig(TrainConfig):
    """LTDD (arXiv 2605.31192), stage 2: explain, then decide; rewarded by the binary label and the form.

    Attributes:
        backbone: none; the first stage brings its networks.
        policy: run of the first stage: a name in the workspace, a folder or a weights file; none is the
            workspace's only one.
        first_stage: configuration of that run, taken from it when the run begins.
        grpo: how is learned from rewards.
        rewards: what a chain is rewarded for.
        form_steps: so many steps at the beginning teach the form alone, by sentences that say nothing of the
            picture and the policy's own direct verdict behind them; for a model that never does so by itself.
        validation: the last epoch is kept, since the AUC of direct answers is not what is rewarded.
        batch: images per step, each of which is explained `grpo.group` times.
    """

    method: Literal["ltdd-rl"] = "ltdd-rl"
    backbone: None = None  # type: ignore[assignment]
    policy: str | None = None
    first_stage: LtddConfig | None = None
    grpo: Grpo = Grpo()
    rewards: Rewards = Rewards()
    form_steps: int = Field(default=0, ge=0)
    validation: Validation = Validation(prefer="last")

    builds_on: ClassVar[str | None] = "policy"

    @property
    def normalises_over_the_batch(self) -> bool:
        """Nothing that is trained does."""
        return False

    def loads(self) -> list[tuple[str, str]]:
        """What the first stage loads."""
        return self.first_stage.loads() if self.first_stage else []

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.form_steps and self.grpo.beta:
            raise ValueError(
                "the policy that the run began with lacks the form; set grpo.beta or form_steps to 0"
            )
        return self

    def beside(self, runs: Path) -> Self:
        """See `TrainConfig.beside`."""
        first = self.first_stage and self.first_stage.beside(runs)
        return self.model_copy(update={"first_stage": first})
