"""Ends a run whose policy has collapsed: constant answers, or empty thoughts (methods 5.8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple, Self

from mmidd.errors import PolicyCollapsed
from mmidd.schema import Label
from mmidd.training.config.grpo import Collapse
from mmidd.training.rl.chain import WORDS, Chain

_MINORITY = 0.25
"""Least share of either label among the pictures for a constant answer to mean anything."""


class Answers(NamedTuple):
    """What a policy answered in a step.

    Attributes:
        completions: how many were written.
        fake_labels: so many of them of a fake picture.
        verdicts: so many of them with a verdict.
        fake: so many verdicts were fake.
        well_formed: so many completions were.
        words: median of their thoughts' words.
    """

    completions: int
    fake_labels: int
    verdicts: int
    fake: int
    well_formed: int
    words: float

    @classmethod
    def of(cls, chains: Sequence[Chain], labels: Sequence[Label]) -> Self:
        """Of at least one chain, and the labels of their pictures."""
        said = [chain.verdict for chain in chains if chain.verdict]
        formed = sum(chain.well_formed for chain in chains)
        words = float(median(chain.words for chain in chains))
        fakes = sum(label is Label.FAKE for label in labels)
        return cls(len(chains), fakes, len(said), said.count(Label.FAKE), formed, words)


class Guard:
    """Watches the last steps of a policy.

    A policy that says fake of a share p of the pictures, each by itself, answers the same in a whole window
    of n pictures with probability p^n + (1 - p)^n: at 50 steps of 8 pictures and p = 0.9, once in 10^18.

    Args:
        config: what counts as collapsed.
    """

    def __init__(self, config: Collapse) -> None:
        self._config = config
        self._steps: deque[Answers] = deque(maxlen=config.window)

    def watch(self, answers: Answers) -> None:
        """Take note of a step.

        Raises:
            PolicyCollapsed: every verdict in the window was of one class, though the pictures were of both,
                or the thoughts of all its steps were empty.
        """
        self._steps.append(answers)
        if len(self._steps) < self._config.window:
            return
        if word := self._constant():
            raise PolicyCollapsed(
                f"{self._over()} every verdict was {word}, of real and fake pictures; start again from "
                "the stage before with a lower optim.lr, or with grpo.beta above 0"
            )
        if all(step.words < self._config.min_words for step in self._steps):
            raise PolicyCollapsed(
                f"{self._over()} the median thought had under {self._config.min_words} words; start again "
                "from the stage before with a higher rewards.weights.format, or with a higher "
                "grpo.max_new_tokens if completions are cut"
            )

    def state_dict(self) -> dict[str, Any]:
        """The steps that are remembered, in plain numbers."""
        return {"steps": [list(step) for step in self._steps]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._steps = deque((Answers(*step) for step in state["steps"]), maxlen=self._config.window)

    def _constant(self) -> str | None:
        """How the window's only verdict is written; None if there are both, neither, or one label alone."""
        labels = self._sum("fake_labels") / self._sum("completions")
        if not _MINORITY <= labels <= 1 - _MINORITY or not (verdicts := self._sum("verdicts")):
            return None
        return {0: WORDS[Label.REAL], verdicts: WORDS[Label.FAKE]}.get(self._sum("fake"))

    def _sum(self, name: str) -> int:
        return sum(getattr(step, name) for step in self._steps)

    def _over(self) -> str:
        """Whom and what this is about."""
        formed = self._sum("well_formed") / self._sum("completions")
        return f"the policy has collapsed: over {self._config.window} steps ({formed:.0%} well formed)"
