"""What a run says of crops, whatever its method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mmidd.dialogue.conversation import Message
from mmidd.dialogue.opening import opening
from mmidd.errors import UsageError
from mmidd.schema import Label

BATCH = 32
"""Crops per call of a detector."""


class Scores(Protocol):
    """P(fake) (B,), type probabilities (B, 5) or None, P(forged) of pixels (B, S, S) or None."""

    @property
    def fake(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def types(self) -> NDArray[np.float32] | None: ...  # noqa: D102
    @property
    def maps(self) -> NDArray[np.float32] | None: ...  # noqa: D102


class Scorer(Protocol):
    """What evaluation and detection use of a trained run; one that talks has a `task`, see `Talks`."""

    def score(self, crops: Sequence[NDArray[np.uint8]]) -> Scores:
        """Scores of RGB crops (H, W, 3) of any size."""


class Answer(Protocol):
    """What was written: see `training.tasks.kfd_llm.Answer`."""

    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def complete(self) -> bool: ...  # noqa: D102
    @property
    def label(self) -> Label | None: ...  # noqa: D102


@runtime_checkable
class Talks(Protocol):
    """A task that answers by the evidence of a detector."""

    def prepare(self, crops: Sequence[NDArray[np.uint8]]) -> Any: ...  # noqa: D102
    def evidence(self, images: Any) -> Any: ...  # noqa: D102
    def answer(self, evidence: Any, talks: Sequence[Sequence[Message]]) -> Sequence[Answer]: ...  # noqa: D102


@dataclass(frozen=True)
class Seen:
    """What a run says of a batch: scores, and of one that talks its detector's P(fake) (B,) and answers."""

    scores: Scores
    detector: NDArray[np.float32] | None = None
    answers: Sequence[Answer] | None = None

    @property
    def more_than_scores(self) -> bool:
        """Whether there is evidence."""
        return self.scores.maps is not None or self.detector is not None


def talker(run: Scorer) -> Talks | None:
    """The task of a run that talks, None of another."""
    task = getattr(run, "task", None)
    return task if isinstance(task, Talks) else None


def require_talker(run: Scorer, method: str) -> None:
    """Check that a run can write answers.

    Raises:
        UsageError: it cannot.
    """
    if talker(run) is None:
        raise UsageError(
            f"a run of {method} writes no answers; leave --answers out, or pass one of "
            "`mmidd train kfd --stage llm`"
        )


def look(run: Scorer, crops: Sequence[NDArray[np.uint8]], answers: bool = False) -> Seen:
    """All that a run says of RGB crops (H, W, 3); with `answers` a run that talks judges each in words."""
    scores, task = run.score(crops), talker(run)
    if task is None:
        return Seen(scores)
    evidence = task.evidence(task.prepare(crops))
    written = task.answer(evidence, [(opening(),)] * len(crops)) if answers else None
    return Seen(scores, evidence.scores[:, 1].float().cpu().numpy(), written)
