"""The stage that captions with a vision-language model, whichever engine runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from mmidd.captioning.answers import AnswerLog
from mmidd.captioning.backends.base import BatchModel, Sampling
from mmidd.captioning.backends.endpoint import Endpoint, EndpointOptions
from mmidd.captioning.catalogue import Checkpoint
from mmidd.captioning.prompt import prompt_hash
from mmidd.captioning.vlm import TRIES, BatchCaptioner, EndpointCaptioner, Job
from mmidd.engine import Ledger, Stage, Unit, content_id
from mmidd.engine.pools import BatchPool, CoroutinePool
from mmidd.engine.units import Pool
from mmidd.errors import StorageError, UsageError
from mmidd.schema import CAPTIONS
from mmidd.workspace import Workspace

_PIN = "caption.json"
_LOG = "answers.jsonl"
_TOKENS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Captions:
    """One set of captions: a folder of the workspace, and all that makes its captions comparable.

    Attributes:
        workspace: where it lies.
        name: of the folder, and in the column `backend`.
        checkpoint: the model.
        sampling: of its answers.
    """

    workspace: Workspace
    name: str
    checkpoint: Checkpoint
    sampling: Sampling

    @property
    def folder(self) -> Path:
        """Where its parts lie."""
        return self.workspace.root / "captions" / self.name

    def pin(self) -> None:
        """Write down model, prompt and sampling, or compare with what was written.

        Raises:
            UsageError: the folder holds captions made otherwise.
            StorageError: it cannot be written.
        """
        mine = {"model": self.checkpoint.id, "prompt": prompt_hash(), **asdict(self.sampling)}
        path = self.folder / _PIN
        if path.exists():
            there = json.loads(path.read_text())
            if differing := [key for key, value in mine.items() if there.get(key) != value]:
                key = differing[0]
                raise UsageError(
                    f"{self.folder} was made with {key} {there.get(key)}, now it is {mine[key]}; give --name "
                    "for a new set of captions"
                )
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(mine, indent=1) + "\n")
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}; free space, then run again"
            ) from error

    def ledger(self) -> Ledger:
        """The table of the captions."""
        return Ledger(self.folder, CAPTIONS)

    def log(self) -> AnswerLog:
        """The answers that are in no part yet."""
        return AnswerLog(self.folder / _LOG)

    def units(self, rows: pl.DataFrame, revision: str | None) -> Iterator[Unit]:
        """One unit per sample; its id is a hash of model, prompt, sampling and image."""
        attempts = self.ledger().attempts()
        keys = (self.checkpoint.id, prompt_hash(), *asdict(self.sampling).values())
        columns = {
            "backend": self.name,
            "model": self.checkpoint.id,
            "revision": revision,
            "prompt_hash": prompt_hash(),
            "seed": self.sampling.seed,
            "temperature": self.sampling.temperature,
        }
        for row in rows.select("sample_id", "table", "pack", "offset", "length", "sha256").iter_rows(
            named=True
        ):
            sample, table = row.pop("sample_id"), self.workspace.root / row.pop("table")
            key = content_id("caption", *keys, sample, row["sha256"])
            before = TRIES * (attempts.get(key, (-1, True))[0] + 1)
            yield Unit(key, sample, Job(key, before, table, **row), {"sample_id": sample, **columns})

    def stage(self, pool: Callable[[], Pool]) -> Stage:
        """The stage, run by a pool."""
        return Stage(f"caption {self.name}", CAPTIONS, totals=_TOKENS, pool=pool)


def endpoint_pool(
    captions: Captions, log: AnswerLog, options: EndpointOptions, model: str
) -> Callable[[], Pool]:
    """Makes the pool that asks a server for `model`."""

    def make() -> Pool:
        work = EndpointCaptioner(Endpoint(options, model), log, captions.sampling)
        return CoroutinePool(work, options.concurrency)

    return make


def batch_pool(
    captions: Captions, log: AnswerLog, models: Sequence[BatchModel], size: int
) -> Callable[[], Pool]:
    """Makes the pool that asks models, all at once, for `size` samples at a time each."""
    return partial(BatchPool, [BatchCaptioner(model, log, captions.sampling) for model in models], size)


def default_name(checkpoint: Checkpoint, sampling: Sampling) -> str:
    """The folder's name: the model's, with what differs from the default sampling."""
    other: dict[str, Any] = {"seed": sampling.seed, "t": sampling.temperature}
    return "-".join([checkpoint.name, *(f"{key}{value:g}" for key, value in other.items() if value)])
