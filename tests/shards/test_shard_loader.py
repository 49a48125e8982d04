"""Loader processes: the same batches as without them, in memory used again but never under a reader."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from mmidd.errors import DataError, MmiddError
from mmidd.shards.loader import Draw, Loader
from mmidd.shards.ring import Ring


@dataclass(frozen=True)
class Paint:
    """Paints a sample with its index; every seventh is unusable, number `kills` ends the process."""

    kills: int = -1
    shape: tuple[int, ...] = (4, 4, 3)

    def __call__(self, draw: Draw, out: NDArray[np.uint8]) -> tuple[int, int, int, int]:
        if draw.index == self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if draw.index % 7 == 0:
            raise DataError("seventh", str(draw.index))
        out[:] = draw.index % 251
        return draw.epoch, draw.step, draw.index, os.getpid()


def steps(count: int, batch: int = 40) -> Iterator[tuple[int, NDArray[np.int32]]]:
    for step in range(count):
        yield step, np.arange(step * batch, (step + 1) * batch, dtype=np.int32)


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader[tuple[int, int, int, int]]]:
    with Loader(Paint(), 40, workers=2) as loader:
        yield loader


def check(loader: Loader[tuple[int, int, int, int]], epoch: int, count: int = 8) -> None:
    kept = list(loader.batches(epoch, steps(count)))
    assert [batch.step for batch in kept] == list(range(count))
    for batch in kept:
        wanted = range(batch.step * 40, batch.step * 40 + 40)
        usable = [i for i in wanted if i % 7]
        assert [about[:3] for about in batch.about] == [(epoch, batch.step, i) for i in usable]
        assert (batch.images == np.array(usable)[:, None, None, None] % 251).all()
        assert [why.detail for why in batch.unusable] == [str(i) for i in wanted if i % 7 == 0]


def test_without_processes_batches_are_filled_here() -> None:
    with Loader(Paint(), 40) as loader:
        check(loader, 3)
        assert next(loader.batches(0, steps(1))).about[0][3] == os.getpid()


def test_batches_that_are_kept_stay_as_they_are(loader: Loader[tuple[int, int, int, int]]) -> None:
    for epoch in range(3):
        check(loader, epoch)


def test_processes_do_the_work(loader: Loader[tuple[int, int, int, int]]) -> None:
    (batch,) = loader.batches(0, steps(1))
    assert os.getpid() not in {about[3] for about in batch.about}


def test_an_epoch_left_early_leaves_nothing_behind(loader: Loader[tuple[int, int, int, int]]) -> None:
    for _ in range(5):
        early = loader.batches(9, steps(20))
        next(early)
        early.close()  # type: ignore[attr-defined]  # a generator
    check(loader, 1)
    gc.collect()
    crew = loader._crew
    assert crew is not None
    assert crew._ring is not None
    assert sorted(crew._ring.free) == [0, 1, 2, 3], "two ahead, two held"


def test_a_slot_is_free_when_its_last_view_is_gone() -> None:
    ring = Ring(3, (2, 5), held=2)
    first, second = (ring.hand_out(ring.free.pop(0), 2) for _ in range(2))
    row = first[1]
    copy = ring.hand_out(ring.free.pop(0), 2)
    assert ring.free == [2], "a third one is a copy"
    assert not np.shares_memory(copy, ring.slots)
    del first
    gc.collect()
    assert 0 not in ring.free, "a row is still held"
    assert np.shares_memory(row, ring.slots)
    del row, second
    gc.collect()
    assert sorted(ring.free) == [0, 1, 2]


def test_a_process_that_dies_ends_the_stream_with_a_word() -> None:
    with (
        Loader(Paint(kills=45), 40, workers=1) as loader,
        pytest.raises(MmiddError, match=r"process died.*-9"),
    ):
        list(loader.batches(0, steps(3)))


def test_an_error_of_the_code_is_raised_where_the_batch_is_awaited() -> None:
    broken = Paint(shape=(4, 4))
    with Loader(broken, 40, workers=1) as loader:
        list(loader.batches(0, steps(1)))
        with pytest.raises(MmiddError, match="ValueError"):
            list(loader.batches(0, iter([(0, np.zeros(41, dtype=np.int32))])))


def test_processes_are_gone_afterwards() -> None:
    with Loader(Paint(), 40, workers=2) as loader:
        workers = {about[3] for batch in loader.batches(0, steps(20)) for about in batch.about}
    for _ in range(50):
        if not any(os.path.exists(f"/proc/{worker}") for worker in workers):  # noqa: PTH110
            return
        time.sleep(0.1)
    pytest.fail("a loader process outlived its loader")
