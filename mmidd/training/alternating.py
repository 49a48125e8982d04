"""A stream in which every batch of samples is followed by one of general dialogues (KFD, section 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mmidd.dialogue.instructions import Instruction
from mmidd.errors import UsageError
from mmidd.preprocess.decode import load_image
from mmidd.preprocess.detectors.base import Pixels
from mmidd.shards import loader
from mmidd.shards.loader import Indices, Loaded, Loader
from mmidd.shards.ring import Images
from mmidd.shards.stream import Stream
from mmidd.training.augment import resize
from mmidd.training.prepare import About

NO_LABEL = -1


@dataclass(frozen=True)
class Instructed:
    """General dialogues, each with the middle square of its image, or black; see `loader.Fill`."""

    instructions: Sequence[Instruction]
    size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image in the batch."""
        return self.size, self.size, 3

    def __call__(self, drawn: loader.Draw, out: Images) -> About:
        """See `loader.Fill`."""
        instruction = self.instructions[drawn.index]
        if instruction.image is None:
            out[:] = 0
        else:
            out[:] = resize(_middle(load_image(instruction.image)), self.size)
        return About(
            key=instruction.id,
            video_id=instruction.id,
            pair_id=None,
            label=NO_LABEL,
            type=NO_LABEL,
            face=None,
            environment=None,
            conversation=instruction.messages,
        )


@dataclass(frozen=True)
class Steps:
    """How many batches an epoch has."""

    steps: int


class Batches(Protocol):
    """A rank's batches, epoch after epoch, as `Stream`; iterating goes on to the end of the epoch."""

    @property
    def planned(self) -> Planned: ...  # noqa: D102
    def __enter__(self) -> Any: ...
    def __exit__(self, *_: object) -> None: ...
    def __iter__(self) -> Iterator[Loaded[About]]: ...
    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102
    def load_state_dict(self, state: dict[str, Any]) -> None: ...  # noqa: D102


class Planned(Protocol):
    """An epoch."""

    @property
    def steps(self) -> int: ...  # noqa: D102


class Alternating:
    """A rank's batches of a stream and of general dialogues in turn; see `Stream`.

    The dialogues of an epoch come in an order given by (seed, epoch), from the beginning again where they
    are fewer than the epoch asks for.

    Args:
        stream: a rank's batches of samples.
        fill: makes a general dialogue of a batch.
        seed: seed of the run.
        batch: dialogues per global batch, over all ranks.
        rank: this rank.
        world_size: number of ranks.
        workers: processes that fill batches of dialogues; 0 for none beside this one.
    """

    def __init__(
        self,
        stream: Stream[About],
        fill: Instructed,
        *,
        seed: int,
        batch: int,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
    ) -> None:
        self._stream, self._seed, self._batch = stream, seed, batch
        self._count, self._rank, self._world_size = len(fill.instructions), rank, world_size
        self._loader = Loader(fill, -(-batch // world_size) + 1, workers)
        said = repr([(one.id, one.messages) for one in fill.instructions])
        self._content = hashlib.sha256(said.encode()).hexdigest()[:16]
        self._owed = False

    @property
    def planned(self) -> Steps:
        """The epoch that the stream is in."""
        return Steps(2 * self._stream.planned.steps)

    def __enter__(self) -> Alternating:
        self._stream.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.stop()
        self._stream.__exit__()

    def __iter__(self) -> Iterator[Loaded[About]]:
        """The batches that are left of the epoch, those of the stream first."""
        epoch, first = self._stream.epoch, self._stream.step - self._owed
        numbers = range(first, self._stream.planned.steps)
        general = self._loader.batches(epoch, ((n, self._dialogues(epoch, n)) for n in numbers))
        if self._owed:
            self._owed = False
            yield next(general)
        for loaded in self._stream:
            self._owed = True
            yield loaded
            self._owed = False
            yield next(general)

    def state_dict(self) -> dict[str, Any]:
        """Where the streams stand; `owed` says that a batch of dialogues is due."""
        return {**self._stream.state_dict(), "owed": self._owed, "dialogues": self._content}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where others stood.

        Raises:
            UsageError: the general dialogues were others; see `Stream.load_state_dict`.
        """
        if state.get("dialogues") != self._content:
            raise UsageError("the general dialogues have changed; give those that the run began with")
        self._stream.load_state_dict(state)
        self._owed = state["owed"]

    def _dialogues(self, epoch: int, number: int) -> Indices:
        order = np.random.default_rng([self._seed, epoch]).permutation(self._count)
        whole = order[np.arange(number * self._batch, (number + 1) * self._batch) % self._count]
        return np.array_split(whole.astype(np.int32), self._world_size)[self._rank]


def _middle(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
