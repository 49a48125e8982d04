"""Batches in memory that processes share, handed out without a copy."""

from __future__ import annotations

import mmap
import os
import weakref
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


class Ring:
    """Slots for batches in anonymous shared memory, which no file system limits.

    It can be given to a process that is being started.

    Args:
        slots: how many batches there is room for.
        shape: of a batch.
        held: how many of the slots may be handed out; after that a batch is handed out as a copy.
    """

    def __init__(self, slots: int, shape: tuple[int, ...], held: int) -> None:
        self._file = os.memfd_create("mmidd-batches")
        os.truncate(self._file, slots * int(np.prod(shape)))
        self._open(slots, shape)
        self.free = list(range(slots))
        self._held = held
        self._lent: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"file": DupFd(self._file), "shape": self.slots.shape}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._file = state["file"].detach()
        self._open(state["shape"][0], state["shape"][1:])

    def __del__(self) -> None:
        os.close(self._file)

    def _open(self, slots: int, shape: tuple[int, ...]) -> None:
        self.slots = np.frombuffer(mmap.mmap(self._file, 0), dtype=np.uint8).reshape(slots, *shape)

    def hand_out(self, slot: int, size: int) -> Images:
        """The first `size` samples of a slot, which is free again when nobody holds them."""
        if len(self._lent) >= self._held:
            copy = self.slots[slot, :size].copy()
            self.free.append(slot)
            return copy
        lent = _Lent(self.slots[slot, :size])
        self._lent.add(slot)
        weakref.finalize(lent, self._take_back, slot).atexit = False
        return np.asarray(lent)

    def _take_back(self, slot: int) -> None:
        self._lent.discard(slot)
        self.free.append(slot)


class _Lent:
    """What arrays of a slot are views of: numpy keeps it alive as long as any of them."""

    def __init__(self, array: Images) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__
