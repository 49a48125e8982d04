"""One writer at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmidd.errors import WorkspaceBusy


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Hold an advisory lock on `file`, which is made if need be; it ends with the process.

    Raises:
        WorkspaceBusy: another process holds it.
        OSError: the file cannot be made.
    """
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceBusy(
                f"another mmidd process is writing {file.parent}; wait for it or stop it"
            ) from error
        yield
