"""Advisory locks on files that may be renamed or removed while another process waits for them.

They are released by name, not only by closing: a process forked meanwhile has the same files open.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO

from mmidd.storage.requests import Stopped

_POLL_SECONDS = 0.02


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock on `path`, which stays there, and hold it."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)


@contextmanager
def claim(part: Path, stop: Event) -> Iterator[BinaryIO | None]:
    """The empty file `part`, locked by this caller; None where another one finished with it first."""
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b", buffering=0) as file:
        while not (locked := try_lock(file)) and is_at(file, part):
            if stop.wait(_POLL_SECONDS):
                raise Stopped
        try:
            if locked and is_at(file, part):
                file.truncate(0)
                yield file
            else:
                yield None
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def remove_unused(path: Path) -> bool:
    """Remove a file unless someone holds it open."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return False
    with file:
        if not try_lock(file) or not is_at(file, path):
            return False
        path.unlink()
        return True


def try_lock(file: BinaryIO) -> bool:
    """Take the lock for this caller alone, if nobody holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
