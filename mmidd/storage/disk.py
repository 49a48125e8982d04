"""Write errors of a folder on this machine, as one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmidd.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def write_errors(root: Path, advice: str) -> Iterator[None]:
    """Raise an OSError of the block as StorageError that ends with `advice`."""
    try:
        yield
    except OSError as error:
        what = "the disk is full" if error.errno in _FULL else (error.strerror or str(error))
        raise StorageError(f"cannot write {root}: {what}; {advice}") from error
