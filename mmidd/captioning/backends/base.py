"""What every backend is asked and answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from mmidd.errors import MmiddError

RETRY_TEMPERATURE = 0.7
"""At least this on every try but the first: at 0 the model would repeat itself."""


class ServerLost(MmiddError):
    """The server does not answer any more; what was answered is kept."""

    exit_code = 3


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; every further try draws anew.

    Attributes:
        temperature: 0 takes the likeliest token.
        seed: of the draws, the same for every sample.
    """

    temperature: float = 0.0
    seed: int = 0

    def nth(self, number: int) -> Sampling:
        """The sampling of a try, counted from 0."""
        if number == 0:
            return self
        return replace(self, temperature=max(self.temperature, RETRY_TEMPERATURE), seed=self.seed + number)


@dataclass(frozen=True)
class Request:
    """One image to describe: its file's bytes (JPEG, PNG or WebP)."""

    image: bytes
    sampling: Sampling


@dataclass(frozen=True)
class Answer:
    """What a model wrote.

    Attributes:
        text: as it was written.
        finish: why it stopped, such as `stop` or `length`.
        prompt_tokens, completion_tokens: None where the backend does not count.
        seconds: from asking to answer; of a batch, its share.
    """

    text: str
    finish: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0


class BatchModel(Protocol):
    """A model in this process that answers many requests at a time."""

    @property
    def revision(self) -> str | None:
        """Of the model's weights, None where unknown."""

    def answer(self, requests: list[Request]) -> list[Answer]:
        """The answers, in the order of the requests."""
