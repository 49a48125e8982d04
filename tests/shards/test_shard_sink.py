"""The file that a thread writes past the page cache."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.shards.sink import Sink

DATA = np.random.default_rng(0).integers(0, 256, 3 << 20, dtype=np.uint8).tobytes()


def written(path: Path, cuts: list[int]) -> str:
    """Write DATA up to the last cut, in these pieces; gives the SHA-256."""
    sink = Sink(path)
    try:
        for start, stop in zip([0, *cuts], cuts, strict=False):
            sink.put(DATA[start:stop])
        return sink.sync()
    finally:
        sink.close()


@given(st.lists(st.integers(0, len(DATA)), min_size=1, max_size=6).map(sorted))
def test_any_pieces_give_the_bytes_and_their_hash(tmp_path_factory: Any, cuts: list[int]) -> None:
    path = tmp_path_factory.getbasetemp() / "sink"
    assert written(path, cuts) == hashlib.sha256(DATA[: cuts[-1]]).hexdigest()
    assert path.read_bytes() == DATA[: cuts[-1]]


def test_a_file_system_without_direct_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    written(tmp_path / "f", [1 << 20, (2 << 20) + 5])
    assert (tmp_path / "f").read_bytes() == DATA[: (2 << 20) + 5]


def test_an_error_of_the_disk_is_raised_when_the_file_is_finished() -> None:
    sink = Sink(Path("/dev/full"))
    sink.put(DATA[:100])
    with pytest.raises(OSError, match="No space left") as error:
        sink.sync()
    assert error.value.errno == errno.ENOSPC
    sink.close()


def test_a_disk_that_takes_a_part_names_the_real_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a block cannot be written directly; that must not hide that the disk is full."""
    write, calls = os.write, iter([1000])

    def partly(file: int, data: memoryview) -> int:
        if take := next(calls, None):
            return take
        if len(data) % 512 == 0:
            return write(file, data)
        direct = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT
        raise OSError(errno.EINVAL if direct else errno.ENOSPC, "as the kernel would")

    monkeypatch.setattr(os, "write", partly)
    with pytest.raises(OSError, match="as the kernel") as error:
        written(tmp_path / "f", [len(DATA)])
    assert error.value.errno == errno.ENOSPC
