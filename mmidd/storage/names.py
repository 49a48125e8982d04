"""Names of files relative to a folder; they may come from a stranger's index."""

from __future__ import annotations

from pathlib import PurePosixPath

from mmidd.errors import DataError


def check_name(name: str) -> str:
    """The name, if it stays inside the folder.

    Raises:
        DataError: `unsafe_name`.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or "\0" in name or "://" in name:
        raise DataError("unsafe_name", repr(name[:200]))
    return name
