"""Captioning samples with a vision-language model: ask, check, ask once more, keep everything."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mmidd.captioning.answers import AnswerLog
from mmidd.captioning.backends.base import Answer, BatchModel, Request, Sampling
from mmidd.captioning.backends.endpoint import Endpoint
from mmidd.captioning.description import Description
from mmidd.captioning.prompt import read_answer
from mmidd.engine import Row
from mmidd.engine.pool import failure
from mmidd.errors import DataError
from mmidd.schema import SAMPLES, Status
from mmidd.workspace import Table

TRIES = 2
"""An answer that cannot be used is asked for once more; then the sample fails."""


@dataclass(frozen=True)
class Job:
    """One sample to caption.

    Attributes:
        key: that its answers are kept under.
        before: tries that were made in earlier runs.
        table, pack, offset, length, sha256: where its image lies, and what it is.
    """

    key: str
    before: int
    table: Path
    pack: str
    offset: int
    length: int
    sha256: str

    def image(self) -> bytes:
        """The image file's bytes.

        Raises:
            DataError: they are not those that were ingested.
        """
        data = Table(self.table, SAMPLES).read(self.pack, self.offset, self.length)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DataError("damaged_blob", f"{self.pack} at {self.offset}; run `mmidd verify --full`")
        return data


@dataclass
class Attempt:
    """The answers to one sample so far, and what the last one was worth."""

    answers: list[Answer]
    outcome: Description | DataError | None = None

    def judge(self) -> None:
        """Read the last answer."""
        try:
            self.outcome = read_answer(self.answers[-1].text, self.answers[-1].finish)
        except DataError as error:
            self.outcome = error

    @property
    def settled(self) -> bool:
        """Whether there is a description, or no try is left."""
        return isinstance(self.outcome, Description) or len(self.answers) >= TRIES

    def row(self) -> Row:
        """The caption, or the failure with what the model wrote."""
        columns = {
            "raw": self.answers[-1].text,
            "tries": len(self.answers),
            "prompt_tokens": _total([answer.prompt_tokens for answer in self.answers]),
            "completion_tokens": _total([answer.completion_tokens for answer in self.answers]),
            "latency_s": sum(answer.seconds for answer in self.answers),
        }
        if isinstance(self.outcome, DataError):
            return Row(columns, Status.FAILED, self.outcome.reason, self.outcome.detail)
        assert self.outcome is not None
        said = {
            "face": self.outcome.face_sentence,
            "environment": self.outcome.environment_sentence,
            "facts": self.outcome.model_dump_json(),
        }
        return Row(columns | said)


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


class EndpointCaptioner:
    """Captions one sample at a time through a server; the work of a `CoroutinePool`."""

    def __init__(self, endpoint: Endpoint, log: AnswerLog, sampling: Sampling) -> None:
        self._endpoint, self._log, self._sampling = endpoint, log, sampling

    async def __aenter__(self) -> EndpointCaptioner:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._endpoint.__aexit__(None, None, None)

    async def __call__(self, job: Job) -> list[Row]:
        """The caption row of a sample."""
        attempt, image = Attempt([]), None
        while not attempt.settled:
            number = job.before + len(attempt.answers)
            answer = self._log.get(f"{job.key}:{number}")
            if answer is None:
                image = image or job.image()
                answer = await self._endpoint.answer(Request(image, self._sampling.nth(number)))
                self._log.put(f"{job.key}:{number}", answer)
            attempt.answers.append(answer)
            attempt.judge()
        return [attempt.row()]


class BatchCaptioner:
    """Captions many samples at a time with a model in this process; the work of a `BatchPool`."""

    def __init__(self, model: BatchModel, log: AnswerLog, sampling: Sampling) -> None:
        self._model, self._log, self._sampling = model, log, sampling

    def __call__(self, jobs: list[Job]) -> list[list[Row]]:
        """The caption row of every sample."""
        attempts = {job.key: Attempt([]) for job in jobs}
        broken: dict[str, Row] = {}
        for _ in range(TRIES):
            todo = [job for job in jobs if job.key not in broken and not attempts[job.key].settled]
            self._ask(todo, attempts, broken)
        return [[broken.get(job.key) or attempts[job.key].row()] for job in jobs]

    def _ask(self, jobs: list[Job], attempts: dict[str, Attempt], broken: dict[str, Row]) -> None:
        """One answer more for every job, those that are in the log already without asking."""
        numbers = {job.key: job.before + len(attempts[job.key].answers) for job in jobs}
        requests: dict[str, Request] = {}
        for job in jobs:
            if self._log.get(f"{job.key}:{numbers[job.key]}") is None:
                try:
                    requests[job.key] = Request(job.image(), self._sampling.nth(numbers[job.key]))
                except DataError as error:
                    broken[job.key] = failure(error)
        for key, answer in zip(requests, self._model.answer(list(requests.values())), strict=True):
            self._log.put(f"{key}:{numbers[key]}", answer)
        for key, number in numbers.items():
            if key not in broken:
                known = self._log.get(f"{key}:{number}")
                assert known is not None
                attempts[key].answers.append(known)
                attempts[key].judge()
