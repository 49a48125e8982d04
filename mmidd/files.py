"""Files on this machine: hashed, and written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from mmidd.errors import StorageError

TEMPORARY = ".tmp-"
"""How the names of unfinished files begin."""

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_if_there(path: Path) -> str | None:
    """SHA-256 of a file; None where there is none."""
    return sha256_of(path) if path.is_file() else None


@contextmanager
def renamed(folder: Path, name: str) -> Iterator[Path]:
    """A path for a new file, which takes the name when it is complete and goes if it is not."""
    temporary = folder / f"{TEMPORARY}{name}-{uuid4().hex}"
    try:
        yield temporary
        temporary.replace(folder / name)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_errors(root: Path, advice: str) -> Iterator[None]:
    """Raise an OSError of the block as StorageError that ends with `advice`."""
    try:
        yield
    except OSError as error:
        what = "the disk is full" if error.errno in _FULL_DISK else (error.strerror or str(error))
        raise StorageError(f"cannot write {root}: {what}; {advice}") from error
