"""What a run says of crops, whatever its method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
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


class Explanation(Protocol):
    """What was written before a verdict: see `training.tasks.ltdd.Explanation`."""

    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def chain(self) -> Any: ...  # noqa: D102
    @property
    def fake(self) -> float: ...  # noqa: D102
    @property
    def complete(self) -> bool: ...  # noqa: D102


@runtime_checkable
class Explains(Protocol):
    """A task that answers at once, or explains first: one explanation of each image, or several."""

    @property
    def chains(self) -> int: ...  # noqa: D102
    def prepare(self, crops: Sequence[NDArray[np.uint8]]) -> Any: ...  # noqa: D102
    def explain(self, images: Any, chains: int | None = None) -> Sequence[Sequence[Explanation]]: ...  # noqa: D102


@dataclass(frozen=True)
class Told:
    """What was written of a crop.

    Attributes:
        text: the answer, or the explanation without its tags, if it is in the form asked for.
        complete: it ended by itself.
        label: what it says.
        well_formed: it is in the form asked for; None of a method that asks for none.
        explained: P(fake) behind the explanation, in [0, 1]; None of a method without.
        voted: its mean over several explanations.
    """

    text: str
    complete: bool
    label: Label | None
    well_formed: bool | None = None
    explained: float | None = None
    voted: float | None = None


@dataclass(frozen=True)
class Seen:
    """What a run says of a batch: scores, and of one that talks its detector's P(fake) (B,) and answers."""

    scores: Scores
    detector: NDArray[np.float32] | None = None
    answers: Sequence[Told] | None = None

    @property
    def more_than_scores(self) -> bool:
        """Whether there is evidence."""
        return any(part is not None for part in (self.scores.maps, self.detector, self.answers))


def talker(run: Scorer) -> Talks | None:
    """The task of a run that talks, None of another."""
    task = getattr(run, "task", None)
    return task if isinstance(task, Talks) else None


def explainer(run: Scorer) -> Explains | None:
    """The task of a run that explains, None of another."""
    task = getattr(run, "task", None)
    return task if isinstance(task, Explains) else None


def require_talker(run: Scorer, method: str) -> None:
    """Check that a run can write answers.

    Raises:
        UsageError: it cannot.
    """
    if talker(run) is None and explainer(run) is None:
        raise UsageError(
            f"a run of {method} writes no answers; leave --answers out, or pass one of "
            "`mmidd train kfd --stage llm` or `mmidd train ltdd`"
        )


def look(run: Scorer, crops: Sequence[NDArray[np.uint8]], answers: bool = False) -> Seen:
    """All that a run says of RGB crops (H, W, 3); with `answers` a run that can judges each in words."""
    scores, task = run.score(crops), talker(run)
    if task is None:
        able = explainer(run)
        return Seen(scores, answers=_explained(able, crops) if able and answers else None)
    evidence = task.evidence(task.prepare(crops))
    written = task.answer(evidence, [(opening(),)] * len(crops)) if answers else None
    told = None if written is None else [Told(one.text, one.complete, one.label) for one in written]
    return Seen(scores, evidence.scores[:, 1].float().cpu().numpy(), told)


def _explained(task: Explains, crops: Sequence[NDArray[np.uint8]]) -> list[Told]:
    images = task.prepare(crops)
    voted = [fmean(one.fake for one in several) for several in task.explain(images, task.chains)]
    return [
        Told(
            one.chain.thought or one.text,
            one.complete,
            one.chain.verdict,
            one.chain.well_formed,
            one.fake,
            mean,
        )
        for (one,), mean in zip(task.explain(images), voted, strict=True)
    ]
